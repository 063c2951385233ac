"""A folder of pictures (or a single one) as a source: each picture is a frame, in the order people number them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.colour import BT709, FULL, RGB, SRGB_TRC, UNSPECIFIED
from pipeline.errors import DerainError
from pipeline.frame import Frame, FrameHeader, StreamInfo
from pipeline.picture_metadata import EXIF, Metadata, read_picture
from pipeline.picture_names import ENDINGS, is_picture
from pipeline.sources.source import Source

_RATE = 25


def natural_order(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sort key by which `9.png` comes before `10.png`."""
    parts = re.split(r"(\d+)", name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], name


class PictureSource(Source):
    """Pictures as rgb24 frames, grey ones as gray, each of its own size and with its file name.

    They have no time of their own: frame n has pts n in a time base of 1/25 s. They are turned upright as their EXIF
    says. A picture that cannot be read ends the source, because nobody wants a gap in a numbered folder.

    Pictures are the frames of one film (`info.stills` is False) if their names differ in a number alone, which counts
    up by one, and the first of them has no EXIF, as a camera's photographs have. All others stand alone.

    Args:
        path: A folder, or one picture.
        native: Keep 16 bits (rgb48le, gray16le) and transparency (rgba, rgba64le). Else samples of more than 8 bits are
            reduced and transparency is dropped; `warnings` tells the first of each.

    Raises:
        DerainError: No picture there, or one that cannot be read.
    """

    def __init__(self, path: str, native: bool = False) -> None:
        super().__init__()
        self._paths = _pictures(path)
        self._native = native
        self._skipped = 0
        self._told: set[str] = set()
        first, metadata = self._read(self._paths[0])
        height, width = first.shape[:2]
        self.info = StreamInfo(
            width=width,
            height=height,
            pixel_format=_format(first),
            time_base=(1, _RATE),
            average_rate=(_RATE, 1),
            frames=len(self._paths),
            duration=len(self._paths) / _RATE,
            color_range=FULL,
            color_primaries=BT709,
            color_trc=SRGB_TRC,
            colorspace=RGB if first.ndim == 3 else UNSPECIFIED,
            source_pixel_format=_format(first),
            source_codec=os.path.splitext(self._paths[0])[1].lower().lstrip("."),
            stills=EXIF in metadata.chunks or not _count_up(self._paths),
        )

    def __iter__(self) -> Iterator[Frame]:
        for index, path in islice(enumerate(self._paths), self._skipped, None):
            pixels, _ = self._read(path)
            header = FrameHeader(
                index=index,
                pts=index,
                width=pixels.shape[1],
                height=pixels.shape[0],
                pixel_format=_format(pixels),
                duration=1,
                name=os.path.basename(path),
            )
            yield Frame(header, pixels.reshape(-1).view(np.uint8))

    def skip(self, count: int) -> None:
        """Begin behind so many pictures, which are not read."""
        self._skipped = count

    def close(self) -> None:
        self._paths = []

    def _read(self, path: str) -> tuple[NDArray[Any], Metadata]:
        """(H, W, 3 or 4) RGB or (H, W) grey, contiguous, of uint8 or (native) little-endian uint16."""
        try:
            read, metadata = read_picture(path)
        except OSError as error:
            raise DerainError(f"{path}: cannot be read ({error.strerror})") from error
        if read is None:
            why = "; this build of OpenCV has no OpenEXR" if path.lower().endswith(".exr") else ""
            raise DerainError(f"{path}: is not a picture that can be read{why}; replace it or take it away")
        if metadata.pictures > 1 and metadata.moves:
            better = "name it .apng" if path.lower().endswith(".png") else "make a video of it first"
            raise DerainError(f"{path}: is an animation of {metadata.pictures} pictures; {better}")
        if metadata.pictures > 1:
            note = f"{path}: has {metadata.pictures} pages; only the first is taken"
            self.warnings += [note] if note not in self.warnings else []  # one is read twice, for what it is like
        if read.dtype not in (np.uint8, np.uint16):
            raise DerainError(f"{path}: has samples of type {read.dtype}; save it with 8 or 16 bits a sample")
        if read.ndim == 3 and read.shape[2] == 2:
            read = read[:, :, [0, 0, 0, 1]]  # grey with transparency
        if not self._native and read.dtype == np.uint16:
            self._tell("16 bits a sample become 8", path)
            read = ((read.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        if read.ndim == 3 and read.shape[2] == 4 and not self._native:
            if (read[:, :, 3] != 255).any():
                self._tell("transparency is dropped", path)
            read = read[:, :, :3]
        if read.ndim == 3:
            read = read[:, :, [2, 1, 0, 3][: read.shape[2]]]
        return np.ascontiguousarray(read, dtype="<u2" if read.dtype == np.uint16 else np.uint8), metadata

    def _tell(self, what: str, path: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self.warnings.append(f"{path}: {what} (told once for all pictures)")


def _pictures(path: str) -> list[str]:
    if os.path.isfile(path):
        return [path]
    try:
        names = [entry.name for entry in os.scandir(path) if entry.is_file() and not entry.name.startswith(".")]
    except OSError as error:
        raise DerainError(f"{path}: cannot be read ({error.strerror})") from error
    pictures = sorted(filter(is_picture, names), key=natural_order)
    if not pictures:
        raise DerainError(f"{path}: holds no pictures; their names must end in {', '.join(ENDINGS)}")
    return [os.path.join(path, name) for name in pictures]


def _count_up(paths: list[str]) -> bool:
    """Whether names differ in a number alone, which counts up by one."""
    names = [os.path.splitext(os.path.basename(path))[0] for path in paths]
    parts = [re.fullmatch(r"(.*?)(\d+)(\D*)", name) for name in names]
    found = [(part[1], int(part[2]), part[3]) for part in parts if part]
    if len(found) < max(2, len(names)):
        return False
    start = found[0][1]
    return all(one == (found[0][0], start + n, found[0][2]) for n, one in enumerate(found))


def _format(pixels: NDArray[Any]) -> str:
    deep = pixels.dtype.itemsize > 1
    if pixels.ndim == 2:
        return "gray16le" if deep else "gray"
    if pixels.shape[2] == 4:
        return "rgba64le" if deep else "rgba"
    return "rgb48le" if deep else "rgb24"
