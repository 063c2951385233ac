"""Fields and tufts of blades drawn on photographs: grass, reeds, straw, needles, bristles, fur and hair.

Blades are as thin, bright and slender as streaks, and a network that has to clear rain from a picture that stands takes
them one by one: standing still does not save them. What tells them apart is that they are bent, that each hides what is
behind it, that neighbours lean alike and the field as a whole does not, and that a field is dense and ends somewhere.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.highlights import Picture

_SHIFT = 4  # bits of a pixel's fraction in OpenCV's coordinates
_ALONG = np.linspace(0, 1, 6)
_MOST = 3500  # blades of a field


def with_blades(picture: Picture, rng: np.random.Generator) -> Picture:
    """RGB (H, W, 3) with one or two fields of blades, 5 to 90 pixels long and 1 to 6 wide, most of them upright.

    Three in ten are tufts instead: light lines on dark that spread from one place, as bristles, seeds' hairs, sprays
    and flourishes do.
    """
    shown = picture
    for _ in range(int(rng.integers(1, 3))):
        drawn = _tuft(shown, rng) if rng.random() < 0.3 else _field(shown, rng)
        opacity = float(rng.uniform(0.6, 1.0))
        shown = np.asarray(cv2.addWeighted(shown, 1 - opacity, drawn, opacity, 0), np.uint8)
    return shown


def _field(picture: Picture, rng: np.random.Generator) -> Picture:
    height, width = picture.shape[:2]
    length = float(np.exp(rng.uniform(np.log(5), np.log(60))))
    thick = float(np.clip(length * np.exp(rng.uniform(np.log(0.03), np.log(0.15))), 1, 6))
    feet = _feet(height, width, length * thick / float(rng.uniform(0.8, 4)), rng)
    count = len(feet)
    lean = 0.0 if rng.random() < 0.65 else float(rng.uniform(0, 2 * np.pi))
    turns = lean + _smooth(height, width, feet, rng) * float(rng.uniform(0.1, 0.7))
    turns = turns + rng.normal(0, float(rng.uniform(0.03, 0.4)), count)
    bends = rng.normal(rng.normal(0, 0.15), float(rng.uniform(0.02, 0.25)), count)
    lengths, widths = length * rng.uniform(0.5, 1.5, count), thick * rng.uniform(0.6, 1.3, count)
    if rng.random() < 0.7:
        hue = np.array([rng.uniform(50, 150), rng.uniform(80, 170), rng.uniform(20, 110)])
    else:
        hue = rng.uniform(60, 230) + rng.uniform(-20, 20, 3)
    light = np.exp(rng.normal(0, float(rng.uniform(0.1, 0.45)), (count, 1))) * hue + rng.normal(0, 8, (count, 3))
    patches = 1 + 0.35 * _smooth(height, width, feet, rng)[:, None]
    light = np.clip(light * patches, 0, 255)
    tips = np.clip(light * float(rng.uniform(0.9, 1.6)), 0, 255)
    drawn = picture.copy()
    if rng.random() < 0.8:  # little is seen of the ground
        shade = (hue * float(rng.uniform(0.3, 0.8))).tolist()
        cv2.fillPoly(drawn, list(_outlines(feet, 0.8 * lengths, turns, bends, 4 * widths + 2)), shade, shift=_SHIFT)
    for outline, colour, tip in zip(_outlines(feet, lengths, turns, bends, widths), light, tips, strict=True):
        cv2.fillPoly(drawn, [outline], colour.tolist(), cv2.LINE_AA, _SHIFT)
        cv2.fillPoly(drawn, [outline[3:-3]], tip.tolist(), cv2.LINE_AA, _SHIFT)
    soft = float(rng.uniform(0, 0.8))
    return np.asarray(cv2.GaussianBlur(drawn, (0, 0), soft) if soft > 0.3 else drawn, np.uint8)


def _tuft(picture: Picture, rng: np.random.Generator) -> Picture:
    height, width = picture.shape[:2]
    count = int(np.exp(rng.uniform(np.log(8), np.log(160))))
    length = float(np.exp(rng.uniform(np.log(20), np.log(160))))
    thick = float(rng.uniform(0.7, 3))
    middle = rng.uniform(0, 1, 2) * [width, height]
    apart = length * float(np.exp(rng.uniform(np.log(0.01), np.log(0.5))))
    feet = middle + rng.normal(0, 1, (count, 2)) * [apart, apart * float(rng.uniform(0, 1))]
    opened = float(rng.choice([rng.uniform(0.02, 0.3), rng.uniform(0.3, 1.2), np.pi]))
    away = (feet[:, 0] - middle[0]) / apart  # those at the sides lean to the sides
    turns = float(rng.normal(0, 0.5)) + (opened * rng.uniform(-1, 1, count) if opened > 3 else 0.5 * opened * away)
    turns = turns + rng.normal(0, 0.05 + 0.2 * min(opened, 1), count)
    bends = rng.normal(rng.normal(0, 0.1), float(rng.uniform(0.0, 0.3)), count)
    lengths, widths = length * rng.uniform(0.6, 1.3, count), thick * rng.uniform(0.6, 1.3, count)
    light = rng.uniform(110, 250) + rng.uniform(-25, 25, 3) + rng.normal(0, float(rng.uniform(2, 30)), (count, 1))
    light = np.clip(light, 0, 255)
    drawn = picture.copy()
    around = np.zeros((height, width), np.float32)
    cv2.circle(around, np.rint(middle).astype(int).tolist(), round(1.5 * length), 1.0, -1)
    around = cv2.GaussianBlur(around, (0, 0), 0.4 * length) * np.float32(rng.uniform(0.3, 0.95))
    drawn = (drawn * (1 - around[..., None])).astype(np.uint8)
    for outline, colour in zip(_outlines(feet, lengths, turns, bends, widths), light, strict=True):
        cv2.fillPoly(drawn, [outline], colour.tolist(), cv2.LINE_AA, _SHIFT)
    return drawn


def _feet(height: int, width: int, area: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Where blades grow, x and y, far ones first: over the whole picture, below a horizon, or in a patch of it."""
    feet = rng.uniform(0, 1, (round(height * width / area) + 1, 2))
    kind = rng.random()
    if kind < 0.45:
        waves = rng.normal(0, 0.05, 3) @ np.sin(np.outer([3, 7, 13], feet[:, 0]) + rng.uniform(0, 6, (3, 1)))
        feet = feet[feet[:, 1] > rng.uniform(0, 0.75) + waves]
    elif kind < 0.75:
        away = (feet - rng.uniform(0, 1, 2)) / rng.uniform(0.15, 0.6, 2)
        feet = feet[np.hypot(*away.T) < 1]
    if len(feet) > _MOST:  # a smaller field, as dense
        away = np.abs((feet - feet[0]) * [width, height]).max(1)
        feet = feet[np.argsort(away)[:_MOST]]
    return np.asarray(feet[np.argsort(feet[:, 1])] * [width, height])


def _smooth(height: int, width: int, feet: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A slowly changing value at each foot, around 0 and about 1 large."""
    cells = int(rng.integers(2, 7))
    coarse = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    fine = cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC)
    at = np.clip(feet / [width, height] * 64, 0, 63).astype(int)
    return np.asarray(fine[at[:, 1], at[:, 0]], np.float64)


def _outlines(
    feet: NDArray[np.float64],
    lengths: NDArray[np.float64],
    turns: NDArray[np.float64],
    bends: NDArray[np.float64],
    thick: NDArray[np.float64],
) -> NDArray[np.int32]:
    """(N, 12, 2) in OpenCV's fractions of a pixel, foot to tip and back: bent to a side, and pointed."""
    up = np.stack([np.sin(turns), -np.cos(turns)], 1)[:, None]
    across = np.stack([np.cos(turns), np.sin(turns)], 1)[:, None]
    middle = feet[:, None] + up * (lengths[:, None] * _ALONG)[..., None]
    middle = middle + across * (lengths * bends)[:, None, None] * (_ALONG**2)[:, None]
    half = across * (thick[:, None] / 2 * (1 - _ALONG**1.5))[..., None]
    return np.rint(np.concatenate([middle - half, (middle + half)[:, ::-1]], 1) * (1 << _SHIFT)).astype(np.int32)
