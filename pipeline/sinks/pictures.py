"""A folder of pictures (or a single one) as a sink."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from pipeline.colour import FULL, LIMITED, is_full_range, swscale_matrix
from pipeline.errors import DerainError, UsageError
from pipeline.frame import Frame, StreamInfo
from pipeline.pixels import convert, unpack
from pipeline.sinks.sink import Sink
from pipeline.sinks.temporary import check_destination, put_in_place, remove, sync, temporary_beside, writing
from pipeline.sources.pictures import ENDINGS, is_picture

_JPEG_QUALITY = 97


class PictureSink(Sink):
    """Writes each frame as one picture.

    Frames from pictures keep their file names; frames of a video become 000001.png, 000002.png … YUV becomes RGB by
    the matrix and range the stream is tagged with, and rotated video is turned upright, since a PNG cannot say so.

    A new folder appears whole at `close`. In a folder that is there already each picture is put in place whole;
    with `overwrite` it replaces the one of that name, and all others stay.

    Args:
        destination: The folder, or one picture.
        info: The stream, as its source describes it.
        overwrite: Write into a folder that holds something, or replace a picture.

    Raises:
        DerainError: The destination exists or cannot be written.
    """

    def __init__(self, destination: str, info: StreamInfo, overwrite: bool) -> None:
        super().__init__(destination)
        self._info = info
        self._overwrite = overwrite
        self._single = is_picture(destination)
        if self._single and info.frames not in (1, None):
            raise UsageError(f"{destination}: is one picture, the source has {info.frames} frames; name a folder")
        holds_something = os.path.isdir(destination) and bool(os.listdir(destination))
        check_destination(destination, overwrite or (os.path.isdir(destination) and not holds_something))
        if os.path.lexists(destination) and os.path.isdir(destination) == self._single:
            is_, wanted = ("a folder", "a picture") if self._single else ("a file", "a folder")
            raise DerainError(f"{destination}: is {is_}, not {wanted}; choose another name")
        self._open = True
        self._names: list[str] = []
        self._temporary = temporary_beside(destination)
        with writing(destination):
            os.mkdir(self._temporary)
        self._quarter_turns = _quarter_turns(info)

    def write(self, frame: Frame) -> None:
        try:
            with writing(self.destination):
                self._write(frame)
        except BaseException:
            self.abort()
            raise

    def _write(self, frame: Frame) -> None:
        import cv2

        if not self._open:
            raise DerainError(f"{self.destination}: is closed already")
        if self._single and self.frames:
            raise DerainError(f"{self.destination}: is one picture, but more frames came; name a folder")
        name = os.path.basename(frame.header.name) or f"{frame.header.index + 1:06d}.png"
        if self._single:
            name = os.path.basename(self.destination)
        pixels = self._upright(frame)
        if pixels.ndim == 3:
            pixels = np.ascontiguousarray(pixels[:, :, ::-1])
        options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if name.lower().endswith((".jpg", ".jpeg")) else []
        if name.lower().endswith(".webp"):
            options = [cv2.IMWRITE_WEBP_QUALITY, 101]  # above 100 is lossless
        done, coded = cv2.imencode(os.path.splitext(name)[1], pixels, options)
        if not done:
            raise DerainError(f"{self.destination}: {name} could not be encoded; use one of {', '.join(ENDINGS)}")
        with open(os.path.join(self._temporary, name), "xb") as file:
            file.write(coded.data)
            file.flush()
            os.fsync(file.fileno())
        self._names.append(name)
        self.frames += 1

    def _upright(self, frame: Frame) -> NDArray[np.uint8]:
        header = frame.header
        if header.pixel_format == "yuv420p":
            made = convert(
                unpack(frame.pixels, header.pixel_format, header.width, header.height),
                "rgb24",
                swscale_matrix(self._info.colorspace, header.height),
                range_in=FULL if is_full_range(self._info) else LIMITED,
                range_out=FULL,
            )
            pixels = np.asarray(made.to_ndarray(), np.uint8)
        else:
            (pixels,) = frame.planes()
            if header.pixel_format == "gray" and not header.name and not is_full_range(self._info):
                pixels = _widen(pixels)
        return np.rot90(pixels, self._quarter_turns) if self._quarter_turns else pixels

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


def _quarter_turns(info: StreamInfo) -> int:
    """How often `numpy.rot90` (counter-clockwise) has to turn the picture so that it stands upright."""
    return round(info.rotation / 90) % 4


def _widen(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Limited-range luma (16..235) as full-range grey."""
    table = np.clip(np.round((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)
    return table[luma]
