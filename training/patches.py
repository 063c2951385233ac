"""The training data of the paper's network: crops of paired pictures, in the same order for the same seed.

Batch `step` follows from the seed and its number alone, so loader processes may make batches in any order, and a run
that was stopped goes on with exactly the data it would have seen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from training.layouts import find_layout
from training.packed_clips import DataError
from training.paired_pictures import check_pairs, read_pair
from training.pairs import Pair
from training.run_config import DataConfig


class Patches(NamedTuple):
    """RGB uint8, each (B, 3, H, W)."""

    rainy: Tensor
    clean: Tensor


class PatchBatches(Dataset[Patches]):
    """Batch number → crops of `data.crop` pixels, mirrored or not.

    One folder of pairs is gone through in a new order each epoch; from several, pictures are drawn by the folders'
    weights. Of clips, frames are drawn. `share` and `shares`: this is the batch's part `share` of `shares` equal parts.
    """

    def __init__(self, config: DataConfig, seed: int, *, share: int = 0, shares: int = 1) -> None:
        self._config, self._seed, self._share, self._shares = config, seed, share, shares
        self._pairs: list[tuple[Pair, int]] = []  # a picture: the pair it is of, and which of its frames
        self.found: tuple[str, ...] = ()
        weights: list[float] = []
        for source in config.pairs:
            named = find_layout(source.path, source.layout)
            self.found += (named.described(source.path),)
            found = named.pairs
            if not all(pair.pictures for pair in found):
                raise DataError(
                    f"{source.path}: videos; kind esdnet trains on pictures (derain run makes them of videos)"
                )
            check_pairs(found, config.crop)
            pictures = [(pair, index) for pair in found for index in range(len(pair.rainy))]
            self._pairs += pictures
            weights += [source.weight / len(pictures)] * len(pictures)
        if not self._pairs:
            raise DataError("kind esdnet trains on pairs of pictures: name their folders under data.pairs")
        if config.clips or config.stills:
            raise DataError("kind esdnet trains on data.pairs alone; put rain on stills with derain rain first")
        self._weights = None if len(config.pairs) == 1 else np.array(weights) / sum(weights)

    @property
    def pictures(self) -> int:
        """How many there are: the length of an epoch."""
        return len(self._pairs)

    def __getitem__(self, number: int) -> Patches:
        batch = self._config.batch
        first = (number * self._shares + self._share) * batch
        crops = [self._crop(position) for position in range(first, first + batch)]
        rainy, clean = (torch.from_numpy(np.stack(side)) for side in zip(*crops, strict=True))
        return Patches(rainy, clean)

    def _crop(self, position: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The crops at a place in the endless row of pictures, each (3, H, W)."""
        rng = np.random.default_rng((self._seed, 1, position))
        pair, index = self._pairs[self._picture(position, rng)]
        sides = read_pair(pair, index)
        crop = self._config.crop
        top, left = (int(rng.integers(side - crop + 1)) for side in sides[0].shape[:2])
        step = -1 if rng.random() < 0.5 else 1
        rainy, clean = (
            np.ascontiguousarray(side[top : top + crop, left : left + crop][:, ::step].transpose(2, 0, 1))
            for side in sides
        )
        return rainy, clean

    def _picture(self, position: int, rng: np.random.Generator) -> int:
        if self._weights is not None:
            return int(rng.choice(len(self._pairs), p=self._weights))
        epoch, place = divmod(position, len(self._pairs))
        return int(np.random.default_rng((self._seed, 2, epoch)).permutation(len(self._pairs))[place])
