"""How well a model derains one pair: what `derain eval` does for every clip."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esdnet.energy import energy_meter
from training.clip_writer import to_frame
from training.clips import ClipFrame, ClipInfo, ClipReader
from training.errors import TrainingError
from training.metrics import Perceptual, Scores
from training.paired_pictures import read_pair
from training.pairs import Pair
from training.probe import Probe

RGB = NDArray[np.uint8]


def evaluate_pair(
    derainer: Any,
    pair: Pair,
    reset_every_frame: bool = False,
    repeat: int | None = None,
    *,
    forgetful: Any = None,
    perceptual: Perceptual | None = None,
) -> dict[str, Any]:
    """Derain a clip with a fresh memory and score it.

    `repeat` shows the frame so often before it is scored (a standing picture); a model without memory sees it once.
    `forgetful` is a second derainer of the same model that is reset before every frame. Returns name, frames, gain_db
    and, for `rainy`, `derained` (and `reset`, with `forgetful`), psnr_y, ssim_y, psnr_rgb, ssim_rgb, flicker and lpips.
    """
    before, after, without = (Scores(perceptual=perceptual) for _ in range(3))
    derainer.reset()
    for number, (frame, truth, info) in enumerate(_frames(pair)):
        if reset_every_frame:
            derainer.reset()
        given, clean = (_rgb(side) for side in (frame, truth))
        if clean.shape != given.shape:
            size, other = (f"{a.shape[1]}×{a.shape[0]}" for a in (given, clean))
            raise TrainingError(f"{pair.name}, frame {number}: the rainy one is {size}, the clean one {other}")
        derained = _derain(derainer, frame, info)
        if repeat and derainer.state and not reset_every_frame:
            for _ in range(repeat - 1):
                derained = _derain(derainer, frame, info)
        _add(before, given, clean, pair)
        _add(after, derained, clean, pair)
        if forgetful is not None:
            forgetful.reset()
            _add(without, _derain(forgetful, frame, info), clean, pair)
    rainy, dry = before.means(), after.means()
    frames, gain = len(before.psnr_y), difference(dry["psnr_y"], rainy["psnr_y"])
    row = {"name": pair.name, "frames": frames, "rainy": rainy, "derained": dry, "gain_db": gain}
    if forgetful is not None:
        reset = without.means()
        row |= {"reset": reset, "carry_db": difference(dry["psnr_y"], reset["psnr_y"])}
    return row


def energy_of(probe: Probe, pair: Pair, frames: int, repeat: int = 1) -> dict[str, Any]:
    """Firing and energy over the first `frames` frames of the rainy clip, membranes carried (`Energy.summary`)."""
    probe.reset()
    seen, pixels = 0, 1
    with energy_meter(probe.network) as energy:
        for frame, _, info in islice(_frames(pair), frames):
            for _ in range(repeat if probe.streaming else 1):
                if isinstance(frame, ClipFrame):
                    assert info is not None
                    probe.video(frame, info.full_range)
                else:
                    probe.picture(frame)
                seen += 1
            pixels = _rgb(frame).shape[0] * _rgb(frame).shape[1]
    return energy.summary(pixels, seen)


def difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


def _rgb(frame: ClipFrame | RGB) -> RGB:
    return frame.rgb() if isinstance(frame, ClipFrame) else frame


def _derain(derainer: Any, frame: ClipFrame | RGB, info: ClipInfo | None) -> RGB:
    """One frame through the network: pictures as RGB, video as the planes it came in, then to RGB by its own tags."""
    if not isinstance(frame, ClipFrame):
        return np.asarray(derainer(frame))
    assert info is not None
    y, u, v = derainer(frame.planes, full_range=info.full_range)
    return np.asarray(to_frame((y, u, v), info).to_ndarray(format="rgb24"))


def _add(scores: Scores, image: RGB, truth: RGB, pair: Pair) -> None:
    try:
        scores.add(image, truth)
    except ValueError as error:
        raise TrainingError(f"{pair.name}: {error}") from error


def _frames(pair: Pair) -> Iterator[tuple[ClipFrame | RGB, ClipFrame | RGB, ClipInfo | None]]:
    """Rainy and clean frames side by side; TrainingError where one clip ends before the other or changes its size."""
    if not pair.pictures:
        yield from _video_frames(pair)
        return
    size: tuple[int, ...] | None = None
    for index in range(len(pair.rainy)):
        rainy, clean = read_pair(pair, index)
        if size is not None and rainy.shape != size:
            here, before = (f"{shape[1]}×{shape[0]}" for shape in (rainy.shape, size))
            raise TrainingError(
                f"{pair.rainy[index]} is {here}, the pictures before it {before}; "
                "pass --pictures to score each by itself"
            )
        size = rainy.shape
        yield rainy, clean, None


def _video_frames(pair: Pair) -> Iterator[tuple[ClipFrame, ClipFrame, ClipInfo]]:
    rainy, clean = (_read(side[0]) for side in (pair.rainy, pair.clean))
    count = 0
    try:
        while True:
            left, right = next(rainy, None), next(clean, None)
            if left is None and right is None:
                return
            if left is None or right is None:
                short = "rainy" if left is None else "clean"
                raise TrainingError(f"{pair.name}: the {short} clip ends after {count} frames, the other goes on")
            yield left[0], right[0], left[1]
            count += 1
    finally:
        rainy.close()
        clean.close()


def _read(file: Path) -> Any:
    with ClipReader(file, upright=True) as reader:
        for frame in reader:
            yield frame, reader.info
