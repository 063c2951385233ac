"""Pairs as training footage: the same crop of a rainy clip or picture and of its truth, frame after frame.

A pair of pictures is a clip that stands still, rain and all. Clips are played as clean footage is (`scenes.ClipScene`):
faster, backwards, mirrored, with a wandering crop, both sides alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from training.errors import TrainingError
from training.packed_clips import Packed, packed_clip, packed_pictures
from training.paired_pictures import read_pair
from training.pairs import Pair
from training.scenes import ClipScene, pack_rgb


class PairScene(Protocol):
    """Endless rainy and clean footage of one crop size."""

    def next(self) -> tuple[Packed, Packed]: ...


class StandingPair:
    """A crop of two pictures, mirrored or not, for ever."""

    def __init__(self, pair: Pair, crop: int, rng: np.random.Generator) -> None:
        sides = read_pair(pair)
        height, width = sides[0].shape[:2]
        top, left = (int(rng.integers(side - crop + 1)) for side in (height, width))
        step = -1 if rng.random() < 0.5 else 1
        rainy, clean = (
            pack_rgb(np.ascontiguousarray(side[top : top + crop, left : left + crop][:, ::step])) for side in sides
        )
        self._both = rainy, clean

    def next(self) -> tuple[Packed, Packed]:
        return self._both


class MovingPair:
    """The same course through a rainy clip and its truth, (frames, 6, H/2, W/2) each, of one shape."""

    def __init__(self, rainy: Packed, clean: Packed, crop: int, rng: np.random.Generator) -> None:
        course = int(rng.integers(2**63))
        self._rainy, self._clean = (ClipScene(side, crop, np.random.default_rng(course)) for side in (rainy, clean))

    def next(self) -> tuple[Packed, Packed]:
        return self._rainy.next(), self._clean.next()


def is_still(pair: Pair) -> bool:
    """Whether the pair is of single pictures."""
    return pair.pictures and len(pair.rainy) == 1


def packed_sides(pair: Pair, cache: Path, max_height: int) -> tuple[Packed, Packed]:
    """Rainy and clean clip of a pair that moves, as memory-mapped packed arrays of one shape.

    TrainingError for one with more frames than the other.
    """
    if not pair.pictures:
        rainy, clean = (packed_clip(side[0], cache, max_height) for side in (pair.rainy, pair.clean))
    else:
        rainy, clean = (packed_pictures(side, cache, max_height) for side in (pair.rainy, pair.clean))
    if len(rainy) != len(clean):  # not every file says beforehand how many frames it has
        raise TrainingError(f"{pair.rainy[0]} has {len(rainy)} frames, but {pair.clean[0]} {len(clean)}")
    return rainy, clean
