"""Clean clips decoded once into memory-mapped arrays of packed YUV 4:2:0, so that training never waits for a codec.

An array is (frames, 6, H/2, W/2) uint8 in limited range (the layout of `esdnet.planes`). It is kept in a cache folder
under a name made from the clip's path, size, time of change and the height asked for, and is written beside itself and
renamed, so that two runs may prepare the same clip at once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from training.errors import TrainingError
from training.phases import phases

Packed = NDArray[np.uint8]

CLIP_SUFFIXES = frozenset({".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".ts", ".mpg"})
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
MAX_FRAMES = 600


class DataError(TrainingError):
    """Training data that cannot be used; the text says which file and what to do."""


def files_in(folder: str | Path, suffixes: frozenset[str]) -> list[Path]:
    """All files below `folder` (or the file itself) with one of `suffixes`, sorted. DataError where there is none.

    Hidden ones are none of the user's: macOS puts a `._NAME` beside every file on a foreign disk.
    """
    root = Path(folder).expanduser()
    if not root.exists():
        raise DataError(f"{root}: no such folder of training data; correct the path in the YAML")
    found = [root] if root.is_file() else sorted(p for p in root.rglob("*") if _is_one_of(p, suffixes))
    if not found:
        raise DataError(f"{root}: holds none of {', '.join(sorted(suffixes))}")
    return found


def _is_one_of(path: Path, suffixes: frozenset[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()


def pack_frame(frame: av.VideoFrame, quarters: int = 0) -> Packed:
    """A yuv420p frame of even size, turned by `quarters` counter-clockwise → (6, H/2, W/2), phases of luma first."""
    planes = frame.to_ndarray()
    height, width = frame.height, frame.width
    chroma = planes[height:].reshape(2, height // 2, width // 2)
    y, u, v = (np.rot90(plane, quarters) for plane in (planes[:height], *chroma))
    return np.concatenate([phases(y), np.stack([u, v])])


def packed_clip(path: Path, cache: Path, max_height: int) -> Packed:
    """The clip as a memory-mapped packed array, no taller than `max_height` lines. DataError where it has no frames."""
    return _packed([path], path.stem, cache, max_height, lambda: _decode([path], max_height))


def packed_pictures(paths: Sequence[Path], cache: Path, max_height: int) -> Packed:
    """The same for a clip that is a list of pictures, one a frame."""
    return _packed(paths, paths[0].parent.name, cache, max_height, lambda: _decode(paths, max_height))


def _packed(files: Sequence[Path], stem: str, cache: Path, max_height: int, decode: Callable[[], Packed]) -> Packed:
    stats = [(path, path.stat()) for path in files[:MAX_FRAMES]]
    what = "|".join(f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}" for path, stat in stats)
    key = hashlib.sha256(f"{what}|{max_height}|upright".encode()).hexdigest()[:16]
    target = cache / f"{stem}-{key}.npy"
    if not target.exists():
        frames = decode()
        partial = target.with_suffix(f".{os.getpid()}.part")
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                np.save(file, frames)
            os.replace(partial, target)
        except OSError as error:
            if partial.is_file():
                partial.unlink()
            raise DataError(
                f"{cache}: decoded clips cannot be kept there ({error.strerror or error}); free some space, or name "
                "another folder with data.cache"
            ) from error
    loaded: Packed = np.load(target, mmap_mode="r")
    return loaded


def _decode(paths: Sequence[Path], max_height: int) -> Packed:
    frames: list[Packed] = []
    for path in paths:
        try:
            with av.open(str(path)) as container:
                if not container.streams.video:
                    raise DataError(f"{path}: has no video in it; take it out of the folder")
                for frame in container.decode(video=0):
                    frames.append(_packed_frame(frame, max_height, path))
                    if frames[-1].shape != frames[0].shape:
                        raise DataError(f"{path}: changes its size on the way; cut it there into two files")
                    if len(frames) == MAX_FRAMES:
                        break
        except (av.error.FFmpegError, OSError) as error:
            raise DataError(f"{path}: cannot be read as a video ({error.strerror or error})") from error
        if len(frames) == MAX_FRAMES:
            break
    if len(frames) < 2:
        raise DataError(f"{paths[0]}: has {len(frames)} frames; a clip needs at least 2")
    return np.stack(frames)


def _packed_frame(frame: av.VideoFrame, max_height: int, path: Path) -> Packed:
    """As a player shows it: rain is to fall down in the pictures, also in those that a telephone stores lying."""
    quarters = round(frame.rotation / 90) % 4
    scale = min(1.0, max_height / (frame.width if quarters % 2 else frame.height))
    width, height = (round(side * scale / 16) * 16 for side in (frame.width, frame.height))
    if not width or not height:
        raise DataError(f"{path}: is {frame.width}×{frame.height}, too small to learn from; take it out of the folder")
    small = frame.reformat(width, height, "yuv420p", dst_color_range=ColorRange.MPEG, interpolation="AREA")
    return pack_frame(small, quarters)
