"""Video clips as 8-bit Y, U, V planes: read one frame at a time, written beside the destination and renamed.

Range and colour matrix are read and written as they are, never converted: what is 4:2:0 with 8 bits comes out as the
decoder gave it. Other formats are brought to 8-bit 4:2:0 within their own range and matrix.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray

from training.errors import TrainingError

Planes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""What a clip can be written as: suffix -> FFmpeg's muxer."""

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
        try:
            self._container = av.open(self.path)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise TrainingError(f"cannot read {self.path}: {reason(error)}") from error
        try:
            if not self._container.streams.video:
                raise TrainingError(f"{self.path} has no video in it")
            self._stream = self._container.streams.video[0]
            self._decoder = self._decode()
            first = next(self._decoder, None)
            if first is None:
                raise TrainingError(f"{self.path} has no frame that can be decoded")
            self._waiting: av.VideoFrame | None = first
            self._stored = self.info = self._describe(first)
            if upright:
                self._quarters = round(self.info.rotation / 90) % 4
                self.info = _shown(self.info)
        except BaseException:
            self._container.close()
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
        self._container.close()

    def __enter__(self) -> ClipReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decode(self) -> Iterator[av.VideoFrame]:
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


class ClipWriter:
    """Writes frames as H.264 (or FFV1) with the tags of `info`. Use it in a `with`: an error takes the file away.

    The clip grows in a hidden file beside `path` and is renamed to it by `close`. H.264 knows no odd sizes in 4:2:0;
    these are written as 4:4:4 with each chroma sample repeated, which reads back as the same 4:2:0.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        info: ClipInfo,
        *,
        codec: str = "libx264",
        crf: int = 10,
        preset: str = "medium",
    ) -> None:
        self.path, self.info = Path(path), info
        kind = CONTAINERS.get(self.path.suffix.lower())
        if kind is None:
            raise TrainingError(f"{self.path}: a clip is written as one of {', '.join(CONTAINERS)}")
        self._part = self.path.with_name(f".{self.path.name}.derain-{os.getpid()}.part")
        odd = codec != "ffv1" and (info.width % 2 or info.height % 2)
        self._format = "yuv444p" if odd else "yuv420p"
        options = {} if codec == "ffv1" else {"crf": str(crf), "preset": preset}
        try:
            self._container = av.open(str(self._part), "w", format=kind)
        except (av.error.FFmpegError, OSError) as error:
            raise TrainingError(f"cannot write {self.path}: {reason(error)}") from error
        try:
            self._stream = cast(VideoStream, self._container.add_stream(codec, rate=info.rate, options=options))
            context = self._stream.codec_context
            context.width, context.height, context.pix_fmt = info.width, info.height, self._format
            context.time_base = self._stream.time_base = info.time_base
            context.color_range, context.colorspace = info.color_range, info.colorspace
            context.color_primaries, context.color_trc = info.color_primaries, info.color_trc
            if info.sample_aspect_ratio:
                context.sample_aspect_ratio = info.sample_aspect_ratio
            if info.rotation:
                self._stream.set_display_rotation(info.rotation)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self.abort()
            raise TrainingError(f"cannot write {self.path} with {codec}: {reason(error)}") from error

    def write(self, planes: Planes, pts: int, duration: int = 0) -> None:
        frame = to_frame(planes, self.info)
        if self._format == "yuv444p":
            full = [planes[0], *(_double(c, self.info.height, self.info.width) for c in planes[1:])]
            frame = to_frame((full[0], full[1], full[2]), self.info, "yuv444p")
        frame.pts, frame.duration, frame.time_base = pts, duration, self.info.time_base
        self._encode(frame)

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._encode(None)
        try:
            self._container.close()
            with open(self._part, "rb") as file:
                os.fsync(file.fileno())
            os.replace(self._part, self.path)
        except (av.error.FFmpegError, OSError) as error:
            self.abort()
            raise TrainingError(f"cannot write {self.path}: {reason(error)}") from error

    def abort(self) -> None:
        """Leave nothing behind."""
        try:
            self._container.close()
        except (av.error.FFmpegError, OSError):
            pass  # half a file on a full disk: it goes anyway
        finally:
            self._part.unlink(missing_ok=True)

    def __enter__(self) -> ClipWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _encode(self, frame: av.VideoFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except (av.error.FFmpegError, OSError) as error:
            self.abort()
            raise TrainingError(f"cannot write {self.path}: {reason(error)}") from error


def to_frame(planes: Planes, info: ClipInfo, pixel_format: str = "yuv420p") -> av.VideoFrame:
    """Planes with the colour tags of `info`, for an encoder or for FFmpeg's conversion to RGB."""
    frame = av.VideoFrame(info.width, info.height, pixel_format)
    for plane, pixels in zip(frame.planes, planes, strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        rows[:, : plane.width] = pixels
    frame.color_range, frame.colorspace = info.color_range, info.colorspace
    return frame


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


def _double(plane: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    return plane.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
