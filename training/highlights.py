"""Thin bright things that are no rain, drawn on photographs: rims of light, poles, pipes and cables, fences and blinds.

They are as thin and as bright as streaks. What tells them apart is that a rim is bent, that a pole is opaque, of one
brightness along its whole length, and goes on where a streak would have ended, and that bars of a fence are all alike
and stand at even distances.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
_SHIFT = 4  # bits of a pixel's fraction in OpenCV's coordinates


def with_rims(picture: Picture, rng: np.random.Generator) -> Picture:
    """RGB (H, W, 3) with arcs of light as on cups, wheels and bent cables."""
    height, width = picture.shape[:2]
    shown = picture
    for _ in range(int(rng.integers(1, 5))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(12, 160)), int(rng.integers(12, 160)))
        turn, start = (float(angle) for angle in rng.uniform(0, 360, 2))
        end, opacity = start + float(rng.uniform(40, 220)), float(rng.uniform(0.2, 0.9))
        light = float(rng.uniform(170, 255)) + rng.uniform(-25, 0, 3)
        thick = int(rng.integers(1, 3))
        for wider, share in ((2, 0.35), (0, 1.0)):  # soft at its sides
            args = (centre, axes, turn, start, end, light.tolist(), thick + wider, cv2.LINE_AA)
            drawn = cv2.ellipse(shown.copy(), *args)
            shown = np.asarray(cv2.addWeighted(shown, 1 - opacity * share, drawn, opacity * share, 0), np.uint8)
    return shown


def with_poles(picture: Picture, rng: np.random.Generator) -> Picture:
    """RGB (H, W, 3) with straight bars, most of them upright: all of the picture's height or more than a third of it,
    1 to 7 pixels wide, most of them bright, one side often in another light."""
    height, width = picture.shape[:2]
    shown = picture
    for _ in range(int(rng.integers(1, 5))):
        angle = rng.normal(0, 0.06) if rng.random() < 0.7 else rng.uniform(-np.pi / 2, np.pi / 2)
        along, across = np.array([np.sin(angle), np.cos(angle)]), np.array([np.cos(angle), -np.sin(angle)])
        middle = rng.uniform(0, 1, 2) * np.array([width, height])
        reach = np.array([-1.0, 1.0]) * float(np.hypot(width, height))
        reach = np.where(rng.random(2) < 0.3, np.array([-1.0, 1.0]) * rng.uniform(0.2, 0.5, 2) * height, reach)
        thick = float(np.exp(rng.uniform(0, np.log(7))))
        light = float(rng.uniform(140, 255) if rng.random() < 0.7 else rng.uniform(10, 110)) + rng.uniform(-20, 0, 3)
        drawn = shown.copy()
        _bar(drawn, middle + reach[:, None] * along, thick, light)
        if thick > 2 and rng.random() < 0.6:
            side = middle + across * thick * float(rng.uniform(-0.35, 0.35))
            _bar(drawn, side + reach[:, None] * along, thick * 0.35, light * float(rng.uniform(0.5, 1.4)))
        opacity = float(rng.uniform(0.6, 1.0))
        shown = np.asarray(cv2.addWeighted(shown, 1 - opacity, drawn, opacity, 0), np.uint8)
    return shown


def with_fences(picture: Picture, rng: np.random.Generator) -> Picture:
    """RGB (H, W, 3) with rows of bars, all alike, at even distances or nearer and nearer: railings, blinds, stripes.

    Most are upright and bright; many end at a rail.
    """
    height, width = picture.shape[:2]
    shown = picture
    for _ in range(int(rng.integers(1, 3))):
        angle = rng.normal(0, 0.08) if rng.random() < 0.75 else rng.uniform(-np.pi / 2, np.pi / 2)
        along, across = np.array([np.sin(angle), np.cos(angle)]), np.array([np.cos(angle), -np.sin(angle)])
        thick = float(np.exp(rng.uniform(0, np.log(6))))
        apart = (thick + 1) * float(np.exp(rng.uniform(np.log(1.6), np.log(10))))
        count = int(min(rng.integers(5, 60), 2 * width / apart + 1))
        nearer = float(np.exp(rng.normal(0, 0.02))) if rng.random() < 0.4 else 1.0
        places = np.cumsum(apart * nearer ** np.arange(count))
        half = float(rng.uniform(0.04, 0.5)) * height
        middle = rng.uniform(0, 1, 2) * np.array([width, height]) - across * places.mean()
        light = float(rng.uniform(140, 255) if rng.random() < 0.75 else rng.uniform(10, 110)) + rng.uniform(-20, 0, 3)
        drawn, ends = shown.copy(), np.array([-half, half])[:, None] * along
        for place in places:
            _bar(drawn, middle + across * place + ends, thick, light)
        for end in ends if rng.random() < 0.6 else ends[:0]:
            rail = np.array([places[0], places[-1]])[:, None] * across
            _bar(drawn, middle + end + rail, thick * float(rng.uniform(0.8, 2.5)), light)
        opacity = float(rng.uniform(0.6, 1.0))
        shown = np.asarray(cv2.addWeighted(shown, 1 - opacity, drawn, opacity, 0), np.uint8)
    return shown


def _bar(picture: Picture, ends: NDArray[np.float64], thick: float, light: NDArray[np.float64]) -> None:
    """Drawn into the picture."""
    (start, end), colour = np.rint(ends * (1 << _SHIFT)).astype(int), np.clip(light, 0, 255)
    width = max(1, round(thick))
    cv2.line(picture, tuple(map(int, start)), tuple(map(int, end)), colour.tolist(), width, cv2.LINE_AA, _SHIFT)
