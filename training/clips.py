"""Video clips as 8-bit Y, U, V planes, read one frame at a time (`clip_writer.py` writes them).

Range and colour matrix are read as they are, never converted: what is 4:2:0 with 8 bits comes out as the
decoder gave it. Other formats are brought to 8-bit 4:2:0 within their own range and matrix.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from training.errors import TrainingError

Planes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]

PLANAR = {"yuv420p", "yuvj420p"}


@dataclass(frozen=True)
class ClipInfo:
    """What is true of all frames of a clip. Colour fields are FFmpeg's AVCOL_* numbers, 2 (range: 0) unspecified."""

    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    full_range: bool
    color_range: int = 0
    colorspace: int = 2
    color_primaries: int = 2
    color_trc: int = 2
    sample_aspect_ratio: Fraction | None = None
    rotation: int = 0  # degrees counter-clockwise by which a player turns the picture
    frames: int | None = None  # how many, where the file tells


@dataclass(frozen=True)
class ClipFrame:
    """One frame: Y (H, W), U and V ((H+1)//2, (W+1)//2), uint8; `pts` and `duration` in ticks of the time base."""

    planes: Planes
    pts: int
    duration: int
    decoded: av.VideoFrame
    quarters: int = 0  # counter-clockwise, by which `planes` are turned from what was decoded

    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) as FFmpeg converts the decoded frame, by its own range and matrix."""
        return _turned(np.asarray(self.decoded.to_ndarray(format="rgb24"), np.uint8), self.quarters)


class ClipReader:
    """The frames of a video file (or a picture), in order, one in memory at a time. Use it in a `with`.

    `info` is known before the first frame is taken. With `upright`, frames and `info` are as a player shows them: a
    telephone stores what it films upright lying on its side. Raises `TrainingError` for what cannot be read; a frame
    that the decoder cannot decode is an error too, for pairs would no longer match.
    """

    def __init__(self, path: str | os.PathLike[str], *, upright: bool = False) -> None:
        self.path = os.fspath(path)
        self._quarters = 0
        self._waiting: av.VideoFrame | None = None
        try:
            self._container = av.open(self.path)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise TrainingError(f"cannot read {self.path}: {reason(error)}") from error
        self._decoder = self._decode()
        try:
            if not self._container.streams.video:
                raise TrainingError(f"{self.path} has no video in it")
            self._stream = self._container.streams.video[0]
            first = next(self._decoder, None)
            if first is None:
                raise TrainingError(f"{self.path} has no frame that can be decoded")
            self._waiting = first
            self._stored = self.info = self._describe(first)
            if upright:
                self._quarters = round(self.info.rotation / 90) % 4
                self.info = _shown(self.info)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[ClipFrame]:
        stored = self._stored
        step = max(1, round(1 / (stored.rate * stored.time_base)))
        last: int | None = None
        while True:
            frame, self._waiting = self._waiting or next(self._decoder, None), None
            if frame is None:
                return
            if (frame.width, frame.height) != (stored.width, stored.height):
                raise TrainingError(
                    f"{self.path} changes its size from {stored.width}×{stored.height} to "
                    f"{frame.width}×{frame.height} on the way; cut it there into two files"
                )
            pts = frame.pts
            if pts is None:  # raw streams carry no time: count
                pts = 0 if last is None else last + step
            last = pts
            y, u, v = (_turned(plane, self._quarters) for plane in self._planes(frame))
            yield ClipFrame((y, u, v), pts, frame.duration or step, frame, self._quarters)

    def close(self) -> None:
        self._decoder.close()  # suspended, it would hold this reader and be held by it, and so the decoder's threads
        self._waiting = None
        self._container.close()

    def __enter__(self) -> ClipReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decode(self) -> Generator[av.VideoFrame, None, None]:
        try:
            yield from self._container.decode(self._stream)
        except av.error.FFmpegError as error:
            raise TrainingError(f"{self.path} is damaged: {reason(error)}") from error

    def _describe(self, first: av.VideoFrame) -> ClipInfo:
        context, stream = self._stream.codec_context, self._stream
        color_range, colorspace = int(first.color_range), int(first.colorspace)
        kind = first.format.name
        # Grey without a tag is full range to FFmpeg (it is what a grey PNG or JPEG decodes to); YUV is limited.
        full = (
            color_range == ColorRange.JPEG or kind.startswith("yuvj") or (kind.startswith("gray") and not color_range)
        )
        if first.format.is_rgb or kind == "pal8":  # becomes BT.601 of limited range, see _planes
            full, color_range, colorspace = False, 1, 6
        return ClipInfo(
            width=first.width,
            height=first.height,
            time_base=stream.time_base or Fraction(1, 90000),
            rate=stream.average_rate or stream.guessed_rate or Fraction(25),
            full_range=full,
            color_range=int(ColorRange.JPEG) if full else color_range,
            colorspace=colorspace,
            color_primaries=int(context.color_primaries),
            color_trc=int(context.color_trc),
            sample_aspect_ratio=stream.sample_aspect_ratio or None,
            rotation=int(first.rotation),
            frames=stream.frames or None,
        )

    def _planes(self, frame: av.VideoFrame) -> Planes:
        name = frame.format.name
        if name == "gray":
            shape = ((frame.height + 1) // 2, (frame.width + 1) // 2)
            return _plane(frame, 0), np.full(shape, 128, np.uint8), np.full(shape, 128, np.uint8)
        if name in ("yuv444p", "yuvj444p"):
            return _plane(frame, 0), _mean_of_four(_plane(frame, 1)), _mean_of_four(_plane(frame, 2))
        if name not in PLANAR:
            span = ColorRange.JPEG if self.info.full_range else ColorRange.MPEG
            if frame.format.is_rgb or name == "pal8":
                frame = frame.reformat(
                    format="yuv420p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.MPEG
                )
            else:
                frame = frame.reformat(format="yuv420p", src_color_range=span, dst_color_range=span)
        return _plane(frame, 0), _plane(frame, 1), _plane(frame, 2)


def reason(error: BaseException) -> str:
    """An FFmpeg or system error in a few words."""
    return str(getattr(error, "strerror", None) or error)


def _turned(plane: NDArray[np.uint8], quarters: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.rot90(plane, quarters))


def _shown(info: ClipInfo) -> ClipInfo:
    """A clip's `info` once its frames stand upright."""
    if round(info.rotation / 90) % 2 == 0:
        return replace(info, rotation=0)
    shape = info.sample_aspect_ratio
    return replace(
        info, width=info.height, height=info.width, rotation=0, sample_aspect_ratio=1 / shape if shape else None
    )


def _plane(frame: av.VideoFrame, index: int) -> NDArray[np.uint8]:
    plane = frame.planes[index]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width].copy()


def _mean_of_four(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """4:4:4 to 4:2:0 chroma: means of 2×2 samples, odd edges repeated; undoes `_double` exactly."""
    height, width = plane.shape
    wide = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge").astype(np.uint16)
    total = wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2]
    return ((total + 2) // 4).astype(np.uint8)
