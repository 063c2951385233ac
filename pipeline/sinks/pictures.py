"""A folder of pictures (or a single one) as a sink."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.colour import FULL, LIMITED, is_full_range, swscale_matrix
from pipeline.deep_pixels import deep_picture
from pipeline.errors import DerainError, UsageError
from pipeline.formats import pixel_format
from pipeline.frame import Frame, StreamInfo
from pipeline.hdr import is_hdr
from pipeline.picture_metadata import CICP, Metadata, can_write, encode_picture, read_picture
from pipeline.picture_names import ENDINGS, is_picture
from pipeline.pixels import convert, unpack
from pipeline.sinks.sink import Sink
from pipeline.sinks.temporary import check_destination, put_in_place, remove, sync, temporary_beside, writing
from pipeline.upright import quarter_turns

_JPEG_QUALITY = 97
_DEEP = (".png", ".tif", ".tiff")
"""Endings of pictures that hold 16 bits a sample."""
_TRANSPARENT = (".png", ".webp", ".tif", ".tiff")


class PictureSink(Sink):
    """Writes each frame as one picture.

    Frames from pictures keep their file names, EXIF, XMP and ICC profile; frames of a video become 000001.png,
    000002.png … YUV becomes RGB by the matrix and range the stream is tagged with, and rotated video is turned upright,
    since a PNG cannot say so. More than 8 bits become 16 in PNG and TIFF; where an ending cannot hold depth or
    transparency, `warnings` tells the first of each. A PNG from HDR video says its curve (cICP).

    A new folder appears whole at `close`. In a folder that is there already each picture is put in place whole;
    with `overwrite` it replaces the one of that name, and all others stay.

    Args:
        destination: The folder, or one picture.
        info: The stream, as its source describes it.
        overwrite: Write into a folder that holds something, or replace a picture.
        source: The picture or the folder of pictures that the frames come from; "" for none.
        into: Where they are until they are put in place; "" for a hidden folder beside the destination.

    Raises:
        DerainError: The destination exists or cannot be written.
    """

    def __init__(self, destination: str, info: StreamInfo, overwrite: bool, source: str = "", into: str = "") -> None:
        super().__init__(destination)
        self._info = info
        self._overwrite = overwrite
        self._source = source
        self._told: set[str] = set()
        self._single = is_picture(destination)
        check_picture(destination, info)
        holds_something = os.path.isdir(destination) and bool(os.listdir(destination))
        check_destination(destination, overwrite or (os.path.isdir(destination) and not holds_something))
        if os.path.lexists(destination) and os.path.isdir(destination) == self._single:
            is_, wanted = ("a folder", "a picture") if self._single else ("a file", "a folder")
            raise DerainError(f"{destination}: is {is_}, not {wanted}; choose another name")
        self._open = True
        self._names: list[str] = []
        self._temporary = into or temporary_beside(destination)
        with writing(destination):
            os.mkdir(self._temporary)
        self._quarter_turns = quarter_turns(info)

    def _write(self, frame: Frame) -> None:
        if not self._open:
            raise DerainError(f"{self.destination}: is closed already")
        if self._single and self.frames:
            raise DerainError(f"{self.destination}: is one picture, but more frames came; name a folder")
        name = os.path.basename(frame.header.name) or f"{self._number(frame):06d}.png"
        if self._single:
            name = os.path.basename(self.destination)
        pixels = self._fitting(self._upright(frame), name)
        if pixels.ndim == 3:
            pixels = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]]
        coded = encode_picture(name, pixels, self._metadata(frame), _JPEG_QUALITY)
        if coded is None:
            raise DerainError(f"{self.destination}: {name} could not be encoded; use one of {', '.join(ENDINGS)}")
        with open(os.path.join(self._temporary, name), "xb") as file:
            file.write(coded)
            file.flush()
            os.fsync(file.fileno())
        self._names.append(name)
        self.frames += 1

    def _number(self, frame: Frame) -> int:
        """By which a frame without a name is called."""
        return frame.header.index + 1

    def _upright(self, frame: Frame) -> NDArray[Any]:
        """(H, W, 3 or 4) RGB or (H, W) grey in full range, of 8 or 16 bits."""
        header = frame.header
        form = pixel_format(header.pixel_format)
        if form.packed or form.name == "gray":
            (pixels,) = frame.planes()
            if form.kind == "gray" and not header.name and not is_full_range(self._info):
                pixels = _widen(pixels)
        elif form.bits > 8:
            pixels = deep_picture(frame, self._info)
        else:
            to = "rgba" if form.alpha else "rgb24"
            full = form.kind == "rgb" or is_full_range(self._info)
            made = convert(
                unpack(frame.pixels, header.pixel_format, header.width, header.height),
                to,
                swscale_matrix(self._info.colorspace, header.height),
                range_in=FULL if full else LIMITED,
                range_out=FULL,
            )
            pixels = made.to_ndarray()
        return np.rot90(pixels, self._quarter_turns) if self._quarter_turns else pixels

    def _fitting(self, pixels: NDArray[Any], name: str) -> NDArray[Any]:
        """What a file with such an ending can hold of a picture."""
        ending = os.path.splitext(name)[1].lower()
        if pixels.dtype.itemsize > 1 and ending not in _DEEP:
            self._tell(f"16 bits a sample become 8, which is all that {ending} holds; use {' or '.join(_DEEP)}")
            pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        if pixels.ndim == 3 and pixels.shape[2] == 4 and ending not in _TRANSPARENT:
            self._tell(f"transparency is dropped: {ending} has none; use {', '.join(_TRANSPARENT)}")
            pixels = pixels[:, :, :3]
        return pixels

    def _tell(self, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self.warnings.append(what)

    def _metadata(self, frame: Frame) -> Metadata:
        name = frame.header.name
        path = os.path.join(self._source, name) if os.path.isdir(self._source) else self._source
        if name and path and os.path.isfile(path):
            with writing(self.destination):
                return read_picture(path)[1]
        if is_hdr(self._info.color_trc):
            return Metadata({CICP: bytes((self._info.color_primaries, self._info.color_trc, 0, 1))})
        return Metadata()

    def close(self) -> None:
        if not self._open:
            return
        try:
            if not self.frames:
                raise DerainError(f"{self.destination}: no frame arrived, so there is nothing to write")
            with writing(self.destination):
                self._put_in_place()
        finally:
            self.abort()

    def _put_in_place(self) -> None:
        if self._single:
            put_in_place(os.path.join(self._temporary, self._names[0]), self.destination, self._overwrite)
        elif os.path.isdir(self.destination):
            for name in self._names:
                os.replace(os.path.join(self._temporary, name), os.path.join(self.destination, name))
            sync(self.destination)
        else:
            put_in_place(self._temporary, self.destination, self._overwrite)

    def abort(self) -> None:
        if self._open:
            self._open = False
            remove(self._temporary)


def check_picture(destination: str, info: StreamInfo) -> None:
    """UsageError for a single picture that cannot be written, or not hold all frames of a stream."""
    if not is_picture(destination):
        return
    if not can_write(destination):
        raise UsageError(f"{destination}: this build of OpenCV cannot write such pictures; use {', '.join(_DEEP)}")
    if info.frames not in (1, None):
        raise UsageError(f"{destination}: is one picture, the source has {info.frames} frames; name a folder")


def _widen(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Limited-range luma (16..235) as full-range grey."""
    table = np.clip(np.round((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)
    return table[luma]
