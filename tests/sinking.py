"""What tests of sinks write: frames of a stream of their own choice."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from pipeline.frame import Frame, FrameHeader, StreamInfo
from pipeline.sinks import EncodeOptions, Sink, open_sink
from tests.clips import planes_of

LOSSLESS = EncodeOptions(codec="ffv1")


def info_of(width: int = 64, height: int = 48, pixel_format: str = "yuv420p", **changes: object) -> StreamInfo:
    known = {"time_base": (1, 1000), "average_rate": (25, 1)} | changes
    return StreamInfo(width=width, height=height, pixel_format=pixel_format, **known)  # type: ignore[arg-type]


def frame_of(index: int, info: StreamInfo, pts: int | None = None, name: str = "") -> Frame:
    planes = planes_of(index, info.width, info.height, info.pixel_format)
    header = FrameHeader(
        index=index,
        pts=40 * index if pts is None else pts,
        width=info.width,
        height=info.height,
        pixel_format=info.pixel_format,
        duration=40,
        name=name,
    )
    return Frame(header, np.concatenate([plane.reshape(-1) for plane in planes]))


def write(path: Path, info: StreamInfo, options: EncodeOptions = LOSSLESS, pts: list[int] | None = None) -> Sink:
    with open_sink(str(path), info, options) as sink:
        for index, at in enumerate(pts if pts is not None else range(0, 200, 40)):
            sink.write(frame_of(index, info, at))
    return sink


def hidden(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".")]
