"""Walls and meshes drawn on photographs: bricks and their joints, tiles, window bars, chain link, nets.

A joint between two bricks, seen from afar, is a short bright upright line, and so is a streak; a mesh is many thin
bright slanted ones. What tells them apart is that they come at even distances, and that others cross or meet them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.highlights import Picture

Mask = NDArray[np.float32]
_FULL = 255


def with_lattices(picture: Picture, rng: np.random.Generator) -> Picture:
    """RGB (H, W, 3) with one or two walls or meshes, as seen from somewhere: lines 1 to 3 pixels wide, 6 to 120 apart,
    most of them bright."""
    shown = picture
    for _ in range(int(rng.integers(1, 3))):
        shown = _lattice(shown, rng)
    return shown


def _lattice(picture: Picture, rng: np.random.Generator) -> Picture:
    height, width = picture.shape[:2]
    wide, high = (int(side) for side in np.ceil(rng.uniform(0.4, 1.3, 2) * [width, height]))
    kind = str(rng.choice(["bricks", "grid", "mesh"], p=[0.4, 0.2, 0.4]))
    lines = np.zeros((high, wide), np.uint8)
    cells = np.full((high, wide), 128, np.uint8)  # how light each of them is
    thick = int(rng.choice([1, 1, 1, 2, 2, 3]))
    if kind == "mesh":
        _mesh(lines, thick, rng)
    else:
        _rows(lines, cells, thick, rng, staggered=kind == "bricks")
    frame = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32)
    at = rng.uniform(-0.2, 0.8, 2) * [width, height] + frame + rng.normal(0, 0.06, (4, 2)) * [wide, high]
    seen = np.asarray(cv2.getPerspectiveTransform(frame, np.asarray(at, np.float32)), np.float64)
    soft = float(rng.uniform(0, 0.7))
    drawn = np.asarray(lines / np.float32(_FULL), np.float32)
    strokes = _seen(
        np.asarray(cv2.GaussianBlur(drawn, (0, 0), soft), np.float32) if soft > 0.3 else drawn, seen, picture
    )
    shown = picture.astype(np.float64)
    if kind == "bricks" or (kind == "grid" and rng.random() < 0.5):
        colour = rng.uniform(40, 190) + rng.uniform(-40, 40, 3)
        grain = _seen(cells.astype(np.float32) - 128, seen, picture)[..., None]
        hides = _seen(np.ones((high, wide), np.float32), seen, picture)[..., None] * float(rng.uniform(0.5, 1))
        shown = shown + (colour + grain - shown) * hides
    light = float(rng.uniform(140, 255) if rng.random() < 0.75 else rng.uniform(10, 110)) + rng.uniform(-20, 10, 3)
    shown = shown + (light - shown) * strokes[..., None] * float(rng.uniform(0.4, 1))
    return np.clip(np.rint(shown), 0, _FULL).astype(np.uint8)


def _seen(layer: Mask, seen: NDArray[np.float64], picture: Picture) -> Mask:
    """A wall's layer where the camera has it."""
    return np.asarray(cv2.warpPerspective(layer, seen, picture.shape[1::-1]), np.float32)


def _mesh(lines: NDArray[np.uint8], thick: int, rng: np.random.Generator) -> None:
    """Two families of slanted lines that cross."""
    height, width = lines.shape
    slant = float(np.exp(rng.uniform(np.log(0.2), np.log(2)))) * height
    apart = (thick + 1) * float(np.exp(rng.uniform(np.log(3), np.log(30))))
    for left in np.arange(-slant, width + slant, apart):
        start, end = round(float(left)), round(float(left + slant))
        cv2.line(lines, (start, 0), (end, height), _FULL, thick, cv2.LINE_AA)
        cv2.line(lines, (end, 0), (start, height), _FULL, thick, cv2.LINE_AA)


def _rows(
    lines: NDArray[np.uint8], cells: NDArray[np.uint8], thick: int, rng: np.random.Generator, *, staggered: bool
) -> None:
    """Joints of rows of bricks or tiles into `lines`, and how light each of them is into `cells`."""
    height, width = lines.shape
    high = (thick + 1) * float(np.exp(rng.uniform(np.log(3), np.log(14))))
    wide = high * (float(rng.uniform(1.4, 3.5)) if staggered else float(np.exp(rng.normal(0, 0.5))))
    uneven = float(rng.uniform(0, 18))
    for row, top in enumerate(np.arange(0, height, high)):
        above, below = round(float(top)), round(float(top + high))
        for left in np.arange(-wide * (0.5 if staggered and row % 2 else 0), width, wide):
            start, end = round(float(left)), round(float(left + wide))
            shade = int(np.clip(128 + rng.normal(0, uneven), 0, _FULL))
            cv2.rectangle(cells, (start, above), (end - 1, below - 1), shade, -1)
            cv2.line(lines, (start, above), (start, below), _FULL, thick)
        cv2.line(lines, (0, above), (width, above), _FULL, thick)
