"""Clips of any pixel format, lossless, with known samples: what `tests.clips` does not make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.formats import pixel_format


def deep_planes(form: str, index: int, width: int, height: int) -> list[NDArray[Any]]:
    """Soft slopes that use all the bits, well inside the range; every frame differs."""
    deep = pixel_format(form)
    planes = []
    for number, shape in enumerate(deep.shapes(width, height)):
        y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
        level = 0.35 + 0.25 * (x / shape[1]) + 0.1 * (y / shape[0]) + 0.01 * index + 0.02 * number
        planes.append((level * deep.highest).astype(deep.dtype))
    return planes


def make_deep_clip(
    path: Path,
    form: str,
    *,
    frames: int = 3,
    width: int = 64,
    height: int = 48,
    codec: str = "ffv1",
    tags: dict[str, int] | None = None,
    options: dict[str, str] | None = None,
    values: tuple[int, ...] | None = None,
) -> Path:
    """Write a clip of a planar format; each plane of one value where `values` says so.

    Args:
        path: Its ending chooses the container.
        form: A planar format of `pipeline.formats`, which the encoder must take.
        frames: How many, at 25 a second.
        width: Pixels.
        height: Pixels.
        codec: An encoder of FFmpeg.
        tags: Attributes of the codec context and the frames, as in `tests.clips.make_clip`.
        options: For the encoder.
        values: A sample for each plane.
    """
    out = av.open(str(path), "w")
    stream = out.add_stream(codec, rate=25, options=options or {})
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = width, height, form
    for name, value in (tags or {}).items():
        setattr(context, name, value)
    for index in range(frames):
        frame = av.VideoFrame(width, height, form)
        planes = deep_planes(form, index, width, height)
        for number, (plane, samples) in enumerate(zip(frame.planes, planes, strict=True)):
            if values:
                samples = np.full_like(samples, values[number])
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            rows[: samples.shape[0], : samples.shape[1] * samples.itemsize] = samples.view(np.uint8)
        frame.pts = index
        for name, value in (tags or {}).items():
            setattr(frame, name, value)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
    out.close()
    return path
