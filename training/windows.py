"""The training data of the streaming networks: episodes of rainy and clean crops, handed out in windows.

Each of B slots plays an episode of `windows` × `window` frames: one scene, one rain. A step of training sees one window
of every slot; membranes go on from window to window and are reset where an episode begins (truncated back-propagation
through time over carried states). Everything follows from the seed, the slot and the number of the step, so a run that
was stopped goes on with exactly the data it would have seen.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from training.captions import Captions
from training.layouts import find_layout
from training.occlusion import OccludedScene
from training.packed_clips import CLIP_SUFFIXES, PICTURE_SUFFIXES, DataError, Packed, files_in, packed_clip
from training.pair_scenes import MovingPair, PairScene, StandingPair, is_still, packed_sides
from training.paired_pictures import check_pairs
from training.pairs import Pair
from training.phases import phases, whole
from training.rain import RainScene, RainSettings
from training.recompression import Codec
from training.run_config import DataConfig
from training.scenes import ClipScene, Scene, StillScene


class Window(NamedTuple):
    """Packed uint8 frames, limited range: `rainy` and `clean` (T, B, 6, h, w); `fresh` (B,) where an episode begins."""

    rainy: Tensor
    clean: Tensor
    fresh: Tensor


class Library:
    """Every source of a data configuration, opened and checked."""

    def __init__(self, config: DataConfig) -> None:
        self.crop, self._config = config.crop, config
        self._clips: list[Packed] = []
        self._stills: list[NDArray[np.uint8]] = []
        self._pairs: list[Pair | tuple[Packed, Packed]] = []
        self.found: tuple[str, ...] = ()
        weights: list[float] = []
        for source in config.clips:
            for path in (paths := files_in(source.path, CLIP_SUFFIXES)):
                self._add_clip(path, config)
                weights.append(source.weight / len(paths))
        for source in config.stills:
            for path in (paths := files_in(source.path, PICTURE_SUFFIXES)):
                self._stills.append(_read_still(path, config.crop))
                weights.append(source.weight / len(paths))
        for pairs in config.pairs:
            named = find_layout(pairs.path, pairs.layout)
            self.found += (named.described(pairs.path),)
            found = named.pairs
            check_pairs(found, config.crop)
            for pair in found:
                self._pairs.append(pair if is_still(pair) else self._open_pair(pair, config))
                weights.append(pairs.weight / len(found))
        if not weights:
            raise DataError("the run has no data: name folders under data.clips, data.stills or data.pairs")
        self._weights = np.array(weights) / sum(weights)

    def _add_clip(self, path: Path, config: DataConfig) -> None:
        clip = packed_clip(path, Path(config.cache), config.max_height)
        if min(clip.shape[2:]) * 2 < config.crop:
            raise DataError(f"{path}: smaller than the crop of {config.crop} pixels; lower data.crop or leave it out")
        self._clips.append(clip)

    def _open_pair(self, pair: Pair, config: DataConfig) -> tuple[Packed, Packed]:
        sides = packed_sides(pair, Path(config.cache), config.max_height)
        if min(sides[0].shape[2:]) * 2 < config.crop:
            raise DataError(f"{pair.rainy[0]}: smaller than the crop of {config.crop} pixels; lower data.crop")
        return sides

    def draw(self, rng: np.random.Generator) -> Scene | StandingPair | MovingPair:
        """A clean scene to be rained on, or one that comes with its rain, as the weights have it."""
        scene = self._draw(rng)
        if isinstance(scene, StandingPair | MovingPair) or rng.random() >= self._config.occluded:
            return scene
        front = self._draw(rng)
        return scene if isinstance(front, StandingPair | MovingPair) else OccludedScene(scene, front, rng)

    def _draw(self, rng: np.random.Generator) -> ClipScene | StillScene | StandingPair | MovingPair:
        index = int(rng.choice(len(self._weights), p=self._weights))
        if index < len(self._clips):
            return ClipScene(self._clips[index], self.crop, rng)
        index -= len(self._clips)
        if index < len(self._stills):
            return self._still(index, rng, standing=bool(rng.random() < 0.4))
        pair = self._pairs[index - len(self._stills)]
        return StandingPair(pair, self.crop, rng) if isinstance(pair, Pair) else MovingPair(*pair, self.crop, rng)

    def scene(self, rng: np.random.Generator) -> Scene | None:
        """A clean scene to be rained on; None where there are only pairs."""
        if not self._clips and not self._stills:
            return None
        while isinstance(scene := self.draw(rng), StandingPair | MovingPair):
            pass
        return scene

    def still(self, rng: np.random.Generator) -> Scene | None:
        if not self._stills:
            return None
        return self._still(int(rng.integers(len(self._stills))), rng, standing=True)

    def _still(self, index: int, rng: np.random.Generator, *, standing: bool) -> StillScene:
        config = self._config
        return StillScene(
            self._stills[index], self.crop, rng, standing=standing,
            sharpened=config.sharpened, rims=config.rims, poles=config.poles, fences=config.fences,
            blades=config.blades, lattices=config.lattices,
        )  # fmt: skip


def _read_still(path: Path, crop: int) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise DataError(f"{path}: cannot be read as a picture")
    if min(picture.shape[:2]) < crop:
        raise DataError(f"{path}: smaller than the crop of {crop} pixels; lower data.crop or leave it out")
    return np.ascontiguousarray(picture[:, :, ::-1])


def open_episode(library: Library, config: DataConfig, seed: tuple[int, ...]) -> PairScene:
    """Rainy and clean frames of the episode of that seed."""
    rng = np.random.default_rng(seed)
    scene = library.draw(rng)
    return scene if isinstance(scene, StandingPair | MovingPair) else Episode(library, config, scene, rng)


class Episode:
    """One scene under one rain, frame after frame; a cut to another scene may come in between."""

    def __init__(self, library: Library, config: DataConfig, scene: Scene, rng: np.random.Generator) -> None:
        self._library, self._rng, self._scene = library, rng, scene
        frozen = bool(rng.random() < config.frozen)
        if frozen:
            self._scene = library.still(rng) or self._scene
        length = config.window * config.windows
        self._cut = int(rng.integers(2, length)) if length > 2 and rng.random() < config.cuts and not frozen else -1
        self._gain = float(np.exp(rng.uniform(-0.5, 0.1))) if rng.random() < 0.4 else 1.0
        settings = RainSettings.sample(rng, height=self._scene.height, frozen=frozen, kinds=config.rain_kinds)
        self._rain = RainScene(settings, library.crop, library.crop, rng)
        recompressed, captioned = rng.random() < config.recompressed, rng.random() < config.captioned
        of_codec, of_captions = rng.spawn(2)
        self._codec = Codec(library.crop, library.crop, of_codec, crf=config.crf) if recompressed else None
        self._captions = Captions(library.crop, of_captions) if captioned else None
        self._beneath = bool(rng.random() < 0.25)
        self._time = 0

    def next(self) -> tuple[Packed, Packed]:
        """(rainy, clean), packed uint8."""
        if self._time == self._cut:
            self._scene = self._library.scene(self._rng) or self._scene
        self._time += 1
        scene = self._scene.next()
        if self._captions and self._beneath:
            (scene,) = self._captions.onto(scene)
        clean = scene.astype(np.float32)
        y = (clean[:4] - 16) * (self._gain / 219)
        u, v = (clean[4:] - 128) * (self._gain / 224)
        rainy = self._rain.onto((whole(y), u, v))
        shown, dry = _codes(phases(rainy[0]), rainy[1], rainy[2]), _codes(y, u, v)
        if self._captions and not self._beneath:
            shown, dry = self._captions.onto(shown, dry)
        return self._codec.through(shown) if self._codec else shown, dry


def _codes(luma: NDArray[np.float32], u: NDArray[np.float32], v: NDArray[np.float32]) -> Packed:
    luma = luma * 219 + 16
    chroma = np.stack([u, v]) * 224 + 128
    return np.clip(np.rint(np.concatenate([luma, chroma])), 0, 255).astype(np.uint8)


class WindowStream(IterableDataset[Window]):
    """Windows for step `start`, `start` + 1, … without end; for each step, one for each of `blocks` in turn.

    A block is the slots of one batch; there are `total` slots in all processes together. Among several loader processes
    each gives its part of every window, to be put together by `whole_windows`.
    """

    def __init__(
        self, config: DataConfig, seed: int, start: int = 0, blocks: Sequence[range] = (), total: int = 0
    ) -> None:
        super().__init__()
        self._config, self._seed, self._start = config, seed, start
        self._blocks, self._total = blocks or (range(config.batch),), total or config.batch
        self._library = Library(config)

    @property
    def found(self) -> tuple[str, ...]:
        """What pairs were found where, a line each."""
        return self._library.found

    def __iter__(self) -> Iterator[Window]:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        worker = get_worker_info()
        blocks = [_share(block, worker.id, worker.num_workers) if worker else list(block) for block in self._blocks]
        playing: dict[int, tuple[int, PairScene]] = {}
        step = self._start
        while True:
            for block in blocks:
                yield self._window(step, block, playing)
            step += 1

    def _window(self, step: int, block: Sequence[int], playing: dict[int, tuple[int, PairScene]]) -> Window:
        config = self._config
        slots, fresh = [], []
        for slot in block:
            if slot % config.batch >= config.batch - config.singles:
                slots.append([self._single(slot, step * config.window + frame) for frame in range(config.window)])
                fresh.append(True)
                continue
            # Slots begin their episodes at different steps, so that every batch has memories of all ages.
            number, place = divmod(step + slot * config.windows // self._total, config.windows)
            known, episode = playing.get(slot, (-1, None))
            if episode is None or known != number:
                episode = open_episode(self._library, config, (self._seed, slot, number))
                for _ in range(place * config.window):  # only after a resume: catch up with the run
                    episode.next()
                playing[slot] = number, episode
            slots.append([episode.next() for _ in range(config.window)])
            fresh.append(place == 0)
        pairs = np.array(slots)  # (B, T, 2, 6, h, w)
        both = torch.from_numpy(np.ascontiguousarray(pairs.transpose(2, 1, 0, 3, 4, 5)))
        return Window(both[0], both[1], torch.tensor(fresh))

    def _single(self, slot: int, number: int) -> tuple[Packed, Packed]:
        """The first frame of an episode of its own."""
        return open_episode(self._library, self._config, (self._seed, slot, number)).next()


def _share(block: range, worker: int, workers: int) -> Sequence[int]:
    """The neighbouring slots of a block that are one loader process's."""
    return [int(slot) for slot in np.array_split(np.array(block), workers)[worker]]


def whole_windows(parts: Iterator[Window], workers: int) -> Generator[Window, None, None]:
    """Windows from the parts that `workers` loader processes give in turn."""
    while True:
        some = [next(parts) for _ in range(workers)]
        rainy, clean, fresh = (list(side) for side in zip(*some, strict=True))
        yield Window(torch.cat(rainy, 1), torch.cat(clean, 1), torch.cat(fresh)) if workers > 1 else some[0]
