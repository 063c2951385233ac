"""Frames too large for the memory at hand: derained tile by tile, each with membranes of its own.

A tile sees only a part of the picture, so it overlaps its neighbours by more than what the network looks around itself
for, and the search for motion too (`motion.py` reaches 60 pixels a frame). In the overlap the results pass over into
each other, so that there is no seam. Every tile has the same size, and keeps its state from frame to frame.

What a tile cannot know is what channel attention averages over the whole picture, for networks that have it (the
shipped streaming ones have none).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from esdnet.derainer import Derainer, Frame, Plane
from esdnet.errors import ModelError
from esdnet.state import MembraneState

ALIGN = 16
"""Tiles begin and end at multiples of so many pixels: of the network's stride, so that all see the same grid."""
OVERLAP = 128
"""Pixels that neighbours share. Measured on three clips of 640×360 in three tiles over 24 frames, against the untiled
run of `stream-nano`: at least 54.4 dB with 128, 53.1 dB with 96, 52.2 dB with 64 (benchmarks/tile_seams.py)."""
LEAST = 2 * OVERLAP
"""Pixels a side that a tile has at least."""


@dataclass(frozen=True)
class Tiling:
    """Where tiles lie: their corners down and across, and their common size."""

    height: int
    width: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.tops) * len(self.lefts)


def plan_tiles(height: int, width: int, most_pixels: int, overlap: int = OVERLAP) -> Tiling:
    """The fewest equal tiles of at most so many pixels that cover a frame.

    Args:
        height: Pixels of the frame.
        width: Pixels of the frame.
        most_pixels: Of a tile.
        overlap: Pixels that neighbours share at least.

    Raises:
        ModelError: `most_pixels` is below what a tile needs.
    """
    found: tuple[int, Tiling] | None = None
    for rows in range(1, -(-height // (LEAST - overlap)) + 1):
        side, tops = _cut(height, rows, overlap)
        for columns in range(1, -(-width // (LEAST - overlap)) + 1):
            across, lefts = _cut(width, columns, overlap)
            if side * across > most_pixels:
                continue
            total = rows * columns * side * across
            if found is None or total < found[0]:
                found = (total, Tiling(side, across, tops, lefts))
            break  # more columns only add overlap
    if found is None:
        raise ModelError(f"a tile needs at least {LEAST}×{LEAST} pixels, not {most_pixels}")
    return found[1]


def _cut(length: int, count: int, overlap: int) -> tuple[int, tuple[int, ...]]:
    """Size and beginnings of so many tiles along one side."""
    if count == 1:
        return length, (0,)
    size = -(-(length + (count - 1) * overlap) // count)
    size = min(-(-size // ALIGN) * ALIGN, length)
    last = length - size
    starts = [min(round(n * last / (count - 1) / ALIGN) * ALIGN, last // ALIGN * ALIGN) for n in range(count)]
    return length - starts[-1], tuple(starts)


class TiledDerainer:
    """A `Derainer` that runs frames of more than so many pixels in tiles. Used like one; smaller frames pass whole.

    Args:
        derainer: The network. Its own state is left to this object.
        most_pixels: Of a tile.
        overlap: Pixels that neighbours share at least.
    """

    def __init__(self, derainer: Derainer, most_pixels: int, overlap: int = OVERLAP) -> None:
        self.model, self.runtime, self.note = derainer.model, derainer.runtime, derainer.note
        self._derainer, self._most, self._overlap = derainer, most_pixels, overlap
        self._size: tuple[int, int] | None = None
        self._tiling = Tiling(0, 0, (), ())
        self._states: list[MembraneState | None] = []

    def reset(self) -> None:
        """Forget the past: the next frame is treated as the first."""
        self._states = [None] * self._tiling.count
        self._derainer.reset()

    @property
    def states(self) -> list[MembraneState | None]:
        """The membranes of each tile."""
        return list(self._states)

    @states.setter
    def states(self, states: list[MembraneState | None]) -> None:
        self._states = list(states)

    def __call__(self, frame: Frame, full_range: bool = False) -> Frame:
        """As `Derainer`. ModelError for a frame of no known kind."""
        planes = [frame] if isinstance(frame, np.ndarray) else list(frame)
        height, width = planes[0].shape[:2]
        if self._size != (height, width):
            self._size = (height, width)
            self._tiling = plan_tiles(height, width, self._most, self._overlap)
            self._weights = [_ramps(plane.shape, self._tiling, planes[0].shape) for plane in planes]
            self.reset()
        if self._tiling.count == 1:
            return self._derainer(frame, full_range)
        sums = [np.zeros(plane.shape, np.float32) for plane in planes]
        for number, parts in enumerate(self._parts(planes)):
            cut = [np.ascontiguousarray(plane[where]) for plane, where in zip(planes, parts, strict=True)]
            for total, where, made, weight in zip(
                sums, parts, self._one(number, cut, full_range), self._weights, strict=True
            ):
                ramp = weight[number]
                total[where] += made * (ramp[..., None] if made.ndim == 3 else ramp)
        out = [np.rint(total).astype(np.uint8) for total in sums]
        return out[0] if isinstance(frame, np.ndarray) else out

    def _one(self, number: int, planes: list[Plane], full_range: bool) -> Sequence[Plane]:
        if (state := self._states[number]) is None:
            self._derainer.reset()
        else:
            self._derainer.state = state
        made = self._derainer(planes if len(planes) > 1 else planes[0], full_range)
        self._states[number] = self._derainer.state
        return [made] if isinstance(made, np.ndarray) else made

    def _parts(self, planes: list[Plane]) -> Iterator[list[tuple[slice, slice]]]:
        """Of each tile, where it lies in each plane."""
        full = planes[0].shape[:2]
        for top in self._tiling.tops:
            for left in self._tiling.lefts:
                box = (top, left, top + self._tiling.height, left + self._tiling.width)
                yield [_where(box, full, plane.shape) for plane in planes]


def _where(box: tuple[int, int, int, int], full: tuple[int, ...], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """A tile of the full picture in a plane of it, which may be half as large."""
    halved = [2 if s < f else 1 for s, f in zip(shape[:2], full, strict=True)]
    top, left, bottom, right = box
    return (
        slice(top // halved[0], -(-bottom // halved[0])),
        slice(left // halved[1], -(-right // halved[1])),
    )


def _ramps(shape: tuple[int, ...], tiling: Tiling, full: tuple[int, ...]) -> list[NDArray[np.float32]]:
    """Each tile's share of each pixel: 1 alone, passing over within the middle half of an overlap; all add up to 1."""
    halved = [2 if s < f else 1 for s, f in zip(shape[:2], full[:2], strict=True)]
    down = _shares(tiling.tops, tiling.height, halved[0], shape[0])
    across = _shares(tiling.lefts, tiling.width, halved[1], shape[1])
    return [np.outer(rows, columns).astype(np.float32) for rows in down for columns in across]


def _shares(starts: tuple[int, ...], size: int, halved: int, length: int) -> list[NDArray[np.float64]]:
    at = np.arange(length)
    edges = [(start // halved, min(-(-(start + size) // halved), length)) for start in starts]
    passed = [np.ones(length)]  # share of all tiles from this one on
    for before, after in pairwise(edges):
        begin, end = after[0], before[1]
        quarter = (end - begin) / 4
        passed.append(np.clip((at + 0.5 - begin - quarter) / max(2 * quarter, 1), 0, 1))
    passed.append(np.zeros(length))
    return [(passed[n] - passed[n + 1])[edges[n][0] : edges[n][1]] for n in range(len(starts))]
