"""The training data of the streaming networks: episodes of rainy and clean crops, handed out in windows.

Each of B slots plays an episode of `windows` × `window` frames: one scene, one rain. A step of training sees one window
of every slot; membranes go on from window to window and are reset where an episode begins (truncated back-propagation
through time over carried states). Everything follows from the seed, the slot and the number of the step, so a run that
was stopped goes on with exactly the data it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from training.packed_clips import CLIP_SUFFIXES, PICTURE_SUFFIXES, DataError, Packed, files_in, packed_clip
from training.rain import RainScene, RainSettings
from training.run_config import DataConfig
from training.scenes import ClipScene, Scene, StillScene


class Window(NamedTuple):
    """Packed uint8 frames, limited range: `rainy` and `clean` (T, B, 6, h, w); `fresh` (B,) where an episode begins."""

    rainy: Tensor
    clean: Tensor
    fresh: Tensor


class Library:
    """Every clean source of a data configuration, opened and checked."""

    def __init__(self, config: DataConfig) -> None:
        self.crop = config.crop
        self._clips: list[Packed] = []
        self._stills: list[NDArray[np.uint8]] = []
        weights: list[float] = []
        for source in config.clips:
            for path in (paths := files_in(source.path, CLIP_SUFFIXES)):
                self._add_clip(path, config)
                weights.append(source.weight / len(paths))
        for source in config.stills:
            for path in (paths := files_in(source.path, PICTURE_SUFFIXES)):
                self._stills.append(_read_still(path, config.crop))
                weights.append(source.weight / len(paths))
        if not weights:
            raise DataError("the run has no data: name folders under data.clips or data.stills")
        self._weights = np.array(weights) / sum(weights)

    def _add_clip(self, path: Path, config: DataConfig) -> None:
        clip = packed_clip(path, Path(config.cache), config.max_height)
        if min(clip.shape[2:]) * 2 < config.crop:
            raise DataError(f"{path}: smaller than the crop of {config.crop} pixels; lower data.crop or leave it out")
        self._clips.append(clip)

    def scene(self, rng: np.random.Generator) -> tuple[Scene, bool]:
        """A clean scene, and whether it stands still."""
        index = int(rng.choice(len(self._weights), p=self._weights))
        if index < len(self._clips):
            return ClipScene(self._clips[index], self.crop, rng), False
        standing = bool(rng.random() < 0.4)
        return StillScene(self._stills[index - len(self._clips)], self.crop, rng, standing=standing), standing

    def still(self, rng: np.random.Generator) -> Scene | None:
        if not self._stills:
            return None
        return StillScene(self._stills[int(rng.integers(len(self._stills)))], self.crop, rng, standing=True)


def _read_still(path: Path, crop: int) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise DataError(f"{path}: cannot be read as a picture")
    if min(picture.shape[:2]) < crop:
        raise DataError(f"{path}: smaller than the crop of {crop} pixels; lower data.crop or leave it out")
    return np.ascontiguousarray(picture[:, :, ::-1])


class Episode:
    """One scene under one rain, frame after frame; a cut to another scene may come in between."""

    def __init__(self, library: Library, config: DataConfig, seed: tuple[int, ...]) -> None:
        self._library, self._rng = library, np.random.default_rng(seed)
        rng = self._rng
        self._scene, _ = library.scene(rng)
        frozen = bool(rng.random() < config.frozen)
        if frozen:
            self._scene = library.still(rng) or self._scene
        length = config.window * config.windows
        self._cut = int(rng.integers(2, length)) if length > 2 and rng.random() < config.cuts and not frozen else -1
        self._gain = float(np.exp(rng.uniform(-0.5, 0.1))) if rng.random() < 0.4 else 1.0
        settings = RainSettings.sample(rng, height=self._scene.height, frozen=frozen)
        self._rain = RainScene(settings, library.crop, library.crop, rng)
        self._time = 0

    def next(self) -> tuple[Packed, Packed]:
        """(rainy, clean), packed uint8."""
        if self._time == self._cut:
            self._scene, _ = self._library.scene(self._rng)
        self._time += 1
        clean = self._scene.next().astype(np.float32)
        y = (clean[:4] - 16) * (self._gain / 219)
        u, v = (clean[4:] - 128) * (self._gain / 224)
        full = np.empty((clean.shape[1] * 2, clean.shape[2] * 2), np.float32)
        full[0::2, 0::2], full[0::2, 1::2], full[1::2, 0::2], full[1::2, 1::2] = y
        rainy = self._rain.onto((full, u, v))
        phases = [rainy[0][0::2, 0::2], rainy[0][0::2, 1::2], rainy[0][1::2, 0::2], rainy[0][1::2, 1::2]]
        return _codes(phases, rainy[1], rainy[2]), _codes(list(y), u, v)


def _codes(phases: list[NDArray[np.float32]], u: NDArray[np.float32], v: NDArray[np.float32]) -> Packed:
    luma = np.stack(phases) * 219 + 16
    chroma = np.stack([u, v]) * 224 + 128
    return np.clip(np.rint(np.concatenate([luma, chroma])), 0, 255).astype(np.uint8)


class WindowStream(IterableDataset[Window]):
    """Windows for step `start`, `start` + 1, … without end."""

    def __init__(self, config: DataConfig, seed: int, start: int = 0) -> None:
        super().__init__()
        self._config, self._seed, self._start = config, seed, start
        self._library = Library(config)

    def __iter__(self) -> Iterator[Window]:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        config = self._config
        playing: dict[int, tuple[int, Episode]] = {}
        step = self._start
        while True:
            slots, fresh = [], []
            for slot in range(config.batch):
                # Slots begin their episodes at different steps, so that every batch has memories of all ages.
                number, place = divmod(step + slot * config.windows // config.batch, config.windows)
                known, episode = playing.get(slot, (-1, None))
                if episode is None or known != number:
                    episode = Episode(self._library, config, (self._seed, slot, number))
                    for _ in range(place * config.window):  # only after a resume: catch up with the run
                        episode.next()
                    playing[slot] = number, episode
                slots.append([episode.next() for _ in range(config.window)])
                fresh.append(place == 0)
            pairs = np.array(slots)  # (B, T, 2, 6, h, w)
            both = torch.from_numpy(np.ascontiguousarray(pairs.transpose(2, 1, 0, 3, 4, 5)))
            yield Window(both[0], both[1], torch.tensor(fresh))
            step += 1
