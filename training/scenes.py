"""Clean footage for training windows: crops of real clips and virtual cameras over still pictures.

A scene gives packed YUV 4:2:0 crops (6, h, w), uint8 limited range, one a frame, for as long as it is asked. Motion is
made harder than the footage: clips are played faster and backwards, the crop wanders, cameras over stills pan and zoom.
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from training.blades import with_blades
from training.highlights import with_fences, with_poles, with_rims
from training.lattices import with_lattices
from training.packed_clips import Packed
from training.phases import phases

_MIRRORED = [1, 0, 3, 2, 4, 5]  # luma phases change places where a picture is mirrored


class Scene(Protocol):
    """Endless clean footage of one crop size."""

    height: int
    """Lines of the whole picture that the crop is from: sets the size of the rain."""

    def next(self) -> Packed: ...


class ClipScene:
    """A crop of a real clip: any start, 1 to 3 times the speed, either direction, mirrored or not, wandering or not."""

    def __init__(self, clip: Packed, crop: int, rng: np.random.Generator) -> None:
        self._clip = clip
        self._half = crop // 2
        self.height = clip.shape[2] * 2
        self._limit = np.array([clip.shape[2] - self._half, clip.shape[3] - self._half])
        self._at = rng.uniform(0, 1, 2) * self._limit
        self._velocity = rng.normal(0, 3, 2) * (rng.random() < 0.35)
        self._time = int(rng.integers(len(clip)))
        self._step = int(rng.choice([1, 1, 1, 1, 2, 2, 3])) * (1 if rng.random() < 0.5 else -1)
        self._mirror = bool(rng.random() < 0.5)

    def next(self) -> Packed:
        top, left = (round(float(v)) for v in np.clip(self._at, 0, self._limit))
        crop = self._clip[self._time, :, top : top + self._half, left : left + self._half]
        crop = crop[_MIRRORED, :, ::-1] if self._mirror else crop
        if not 0 <= self._time + self._step < len(self._clip):
            self._step = -self._step
        self._time = int(np.clip(self._time + self._step, 0, len(self._clip) - 1))
        self._at = self._at + self._velocity
        outside = (self._at < 0) | (self._at > self._limit)
        self._velocity = np.where(outside, -self._velocity, self._velocity)
        return np.ascontiguousarray(crop)


class StillScene:
    """A virtual camera over a photograph: standing, or panning and zooming smoothly."""

    def __init__(
        self, picture: NDArray[np.uint8], crop: int, rng: np.random.Generator, *,
        standing: bool, sharpened: float = 0.0, rims: float = 0.0, poles: float = 0.0, fences: float = 0.0,
        blades: float = 0.0, lattices: float = 0.0,
    ) -> None:  # fmt: skip
        """`picture` is RGB (H, W, 3), uint8; `sharpened` to `lattices` are the chances of each."""
        self._crop = crop
        if rng.random() < sharpened:
            picture = _sharpened(picture, float(rng.uniform(0.5, 2)))
        drawers = (
            (blades, with_blades), (lattices, with_lattices), (poles, with_poles), (fences, with_fences),
            (rims, with_rims),
        )  # fmt: skip
        for chance, draw in drawers:
            if rng.random() < chance:
                picture = draw(picture, rng)
        self._picture = picture
        self.height = 360
        side = min(picture.shape[:2])
        self._zoom = float(np.clip(np.exp(rng.normal(0, 0.25)), crop / side * 1.02, 2.0)) if not standing else 1.0
        self._zoom = max(self._zoom, crop / side * 1.02)
        self._centre = rng.uniform(0.3, 0.7, 2) * np.array(picture.shape[1::-1])
        self._velocity = np.zeros(2) if standing else rng.normal(0, 1, 2) * rng.choice([1.0, 3.0, 8.0])
        self._zooming = 1.0 if standing else float(np.exp(rng.normal(0, 0.006)))
        self._rng, self._standing = rng, standing
        self._shown: Packed | None = None

    def next(self) -> Packed:
        if self._standing and self._shown is not None:
            return self._shown
        half = self._crop / 2
        matrix = np.array([[self._zoom, 0, half - self._zoom * self._centre[0]],
                           [0, self._zoom, half - self._zoom * self._centre[1]]])  # fmt: skip
        rgb = cv2.warpAffine(self._picture, matrix, (self._crop, self._crop), flags=cv2.INTER_LINEAR,
                             borderMode=cv2.BORDER_REFLECT_101)  # fmt: skip
        self._shown = pack_rgb(np.asarray(rgb, np.uint8))
        self._velocity = self._velocity + self._rng.normal(0, 0.3, 2) * (np.abs(self._velocity).max() > 0)
        self._centre = self._centre + self._velocity / self._zoom
        size = np.array(self._picture.shape[1::-1])
        outside = (self._centre < 0.15 * size) | (self._centre > 0.85 * size)
        self._velocity = np.where(outside, np.sign(0.5 * size - self._centre) * np.abs(self._velocity), self._velocity)
        self._zoom = float(np.clip(self._zoom * self._zooming, 0.4, 2.0))
        return self._shown


def _sharpened(picture: NDArray[np.uint8], amount: float) -> NDArray[np.uint8]:
    """Rims and highlights as cameras that sharpen make them: bright and thin, and not rain."""
    soft = cv2.GaussianBlur(picture, (0, 0), 1.2)
    return np.asarray(cv2.addWeighted(picture, 1 + amount, soft, -amount, 0), np.uint8)


def pack_rgb(rgb: NDArray[np.uint8]) -> Packed:
    """RGB (H, W, 3) of even size → packed BT.601 limited range (6, H/2, W/2)."""
    planar = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    height, width = rgb.shape[:2]
    return np.concatenate([phases(planar[:height]), planar[height:].reshape(2, height // 2, width // 2)])
