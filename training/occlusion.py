"""Scenes in front of scenes: something passes before the camera, a picture within the picture, a split screen.

Cameras that wander over a photograph uncover nothing and have no edge that moves against what is behind it; real clips
have few. Without such edges in training `stream-nano` took 0.6 to 1.1 of luma, black specks, from frames whose seam
wandered, and the more in the next frame. By themselves they have not mended it (docs/experiments/kinds-of-rain.md).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.packed_clips import Packed
from training.phases import phases, whole
from training.scenes import Scene

_HIGHEST, _LOWEST = 235, 16  # limited range
_BLACK = np.array([16, 16, 16, 16, 128, 128], np.float32).reshape(6, 1, 1)


class OccludedScene:
    """`front` seen through a shape with a sharp edge, before `back`: the shape moves, turns back at the borders, and
    takes a picture of `front` with it (a thing that passes) or lets it play (a picture within the picture)."""

    def __init__(self, back: Scene, front: Scene, rng: np.random.Generator) -> None:
        self._back, self._front = back, front
        self.height = back.height
        self._rigid = bool(rng.random() < 0.65)
        picture = front.next()
        self._size = size = picture.shape[-1] * 2
        self._light = float(np.exp(rng.uniform(-0.7, 0.25)))
        self._picture = self._lit(picture)
        self._mask = _shape(size, rng)
        self._at = rng.uniform(-0.45, 0.45, 2) * size
        speed = rng.choice([0.0, 1.0, 3.0, 8.0], p=[0.2, 0.3, 0.3, 0.2])
        self._velocity = rng.normal(0, 1, 2) * speed
        self._edge = float(rng.choice([0.0, 0.6]))  # sharp as a graphic's, or as a lens draws it

    def next(self) -> Packed:
        back = self._back.next()
        move = np.array([[1, 0, self._at[0]], [0, 1, self._at[1]]])
        self._advance()
        full = (self._size, self._size)
        mask = cv2.warpAffine(self._mask, move, full, flags=cv2.INTER_LINEAR)
        if self._edge:
            mask = cv2.GaussianBlur(mask, (0, 0), self._edge)
        luma = phases(np.asarray(mask, np.float32))
        opacity = np.concatenate([luma, np.repeat(luma.mean(0, keepdims=True), 2, axis=0)])
        front = _moved(self._picture, move) if self._rigid else self._lit(self._front.next())
        mixed = back + (front - back) * opacity
        return np.clip(np.rint(mixed), _LOWEST, _HIGHEST).astype(np.uint8)

    def _lit(self, packed: Packed) -> NDArray[np.float32]:
        """Brighter or darker, its colours as they are."""
        return (packed.astype(np.float32) - _BLACK) * self._light + _BLACK

    def _advance(self) -> None:
        self._at = self._at + self._velocity
        outside = np.abs(self._at) > 0.8 * self._size
        self._velocity = np.where(outside, -np.sign(self._at) * np.abs(self._velocity), self._velocity)


def _shape(size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Opacity 0..1 of an ellipse, a rectangle aslant or upright, a polygon, a half of the picture or a pole."""
    mask = np.zeros((size, size), np.uint8)
    middle, kind = size / 2, str(rng.choice(["ellipse", "box", "upright", "polygon", "half", "pole"]))
    axes = np.exp(rng.uniform(np.log(0.06), np.log(0.45), 2)) * size
    turn = float(rng.uniform(0, 360))
    if kind == "ellipse":
        cv2.ellipse(mask, ((middle, middle), (2 * axes[0], 2 * axes[1]), turn), 255, -1, cv2.LINE_AA)
    elif kind == "polygon":
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
        reach = rng.uniform(0.4, 1.0, len(angles)) * max(axes)
        corners = middle + np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None]
        cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], 255, cv2.LINE_AA)
    else:
        if kind != "box":
            turn = 0.0
        if kind == "half":
            axes = np.array([size, size]) * rng.choice([0.5, 1.0], 2)
        if kind == "pole":
            axes, turn = np.array([np.exp(rng.uniform(np.log(0.75), np.log(5))), 2 * size]), float(rng.normal(0, 4))
        corners = cv2.boxPoints(((middle, middle), (2 * axes[0], 2 * axes[1]), turn))
        cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], 255, cv2.LINE_AA)
    return np.asarray(mask / np.float32(255), np.float32)


def _moved(planes: NDArray[np.float32], move: NDArray[np.float64]) -> NDArray[np.float32]:
    """Packed planes moved by (2, 3) `move`, in full pixels; what comes in at the borders is reflected."""
    chroma = [_shifted(plane, move * np.array([1, 1, 0.5])) for plane in planes[4:]]
    return np.concatenate([phases(_shifted(whole(planes[:4]), move)), np.stack(chroma)])


def _shifted(plane: NDArray[np.float32], move: NDArray[np.float64]) -> NDArray[np.float32]:
    size = (plane.shape[1], plane.shape[0])
    shown = cv2.warpAffine(plane, move, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(shown, np.float32)
