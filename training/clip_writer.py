"""Writes video clips from 8-bit Y, U, V planes, beside the destination, and renames them.

Range and colour matrix are written as they are, never converted.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from training.clips import ClipInfo, Planes, reason
from training.errors import TrainingError

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""What a clip can be written as: suffix -> FFmpeg's muxer."""


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
        # mbtree=0: with AVX-512 x264 165 reads there what it has not written, and the same frames give other bits
        options = {} if codec == "ffv1" else {"crf": str(crf), "preset": preset, "mbtree": "0"}
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


def _double(plane: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    return plane.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
