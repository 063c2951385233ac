"""Reads paired pictures: checks every header before a run begins, and decodes a pair when it is its turn.

Pillow does both: it reads sizes without decoding, and refuses a picture that is cut short, which OpenCV fills up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from training.clips import ClipReader
from training.errors import TrainingError
from training.pairs import Pair

RGB = NDArray[np.uint8]


def check_pairs(pairs: Sequence[Pair], smallest: int = 1) -> None:
    """Reads every header. TrainingError for the first pair that cannot be read, whose two sides have not the same size
    or number of frames, or that is smaller than `smallest` pixels a side."""
    for pair in pairs:
        if len(pair.rainy) != len(pair.clean):
            raise TrainingError(f"{pair.name}: {len(pair.rainy)} rainy frames, but {len(pair.clean)} clean ones")
        sizes = _picture_sizes(pair) if pair.pictures else _video_sizes(pair)
        for rainy, clean in sizes:
            if rainy != clean:
                left, right = (f"{width}×{height}" for width, height in (rainy, clean))
                raise TrainingError(f"{pair.rainy[0]} is {left}, but {pair.clean[0]} {right}")
        if len({rainy for rainy, _ in sizes}) > 1:
            raise TrainingError(f"{pair.rainy[0].parent}: the frames of a clip must have one size")
        width, height = sizes[0][0]
        if min(width, height) < smallest:
            raise TrainingError(
                f"{pair.rainy[0]} is {width}×{height}: smaller than the crop of {smallest} pixels; lower data.crop or "
                "leave it out"
            )


def read_pair(pair: Pair, index: int = 0) -> tuple[RGB, RGB]:
    """Rainy and clean picture `index` of a pair of pictures, each (H, W, 3) RGB. TrainingError where one is damaged."""
    rainy = read_picture(pair.rainy[index])
    if pair.side_by_side:
        half = rainy.shape[1] // 2
        return np.ascontiguousarray(rainy[:, :half]), np.ascontiguousarray(rainy[:, half:])
    return rainy, read_picture(pair.clean[index])


def read_picture(path: Path) -> RGB:
    """(H, W, 3) RGB uint8. TrainingError where the file is no picture, or damaged."""
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise TrainingError(f"{path}: cannot be read as a picture ({_reason(error)})") from error


def _picture_sizes(pair: Pair) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    if not pair.side_by_side:
        return [(_size(rainy), _size(clean)) for rainy, clean in zip(pair.rainy, pair.clean, strict=True)]
    sizes = []
    for path in pair.rainy:
        width, height = _size(path)
        if width % 2:
            raise TrainingError(f"{path} is {width} pixels wide: no picture of two halves, rainy left and clean right")
        sizes.append(((width // 2, height), (width // 2, height)))
    return sizes


def _video_sizes(pair: Pair) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    found = []
    for path in (pair.rainy[0], pair.clean[0]):
        with ClipReader(path, upright=True) as reader:
            found.append(reader.info)
    rainy, clean = found
    if rainy.frames and clean.frames and rainy.frames != clean.frames:
        raise TrainingError(f"{pair.rainy[0]} has {rainy.frames} frames, but {pair.clean[0]} {clean.frames}")
    return [((rainy.width, rainy.height), (clean.width, clean.height))]


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise TrainingError(f"{path}: cannot be read as a picture ({_reason(error)})") from error


def _reason(error: BaseException) -> str:
    return type(error).__name__ if isinstance(error, UnidentifiedImageError) else str(error).splitlines()[0]
