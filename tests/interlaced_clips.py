"""Makes small interlaced video files for tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def interlaced_clip(path: Path, top_first: bool, codec: str = "libx264", height: int = 48) -> Path:
    """Ten frames whose two fields are a bar at different places, flagged by FFmpeg's own filter."""
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(width=64, height=height, format=av.VideoFormat("yuv420p"), time_base=Fraction(1, 25))
    flag, sink = graph.add("setfield", "mode=tff" if top_first else "mode=bff"), graph.add("buffersink")
    source.link_to(flag)
    flag.link_to(sink)
    graph.configure()
    out = av.open(str(path), "w")
    first = "tff=1" if top_first else "bff=1"
    options = {"preset": "ultrafast", "crf": "10", "x264-params": first} if codec == "libx264" else {}
    stream = out.add_stream(codec, rate=25, options=options)
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = 64, height, "yuv420p"
    context.field_order = 2 if top_first else 3
    context.flags |= 0x40000 | 0x20000000  # interlaced DCT and motion
    for index in range(10):
        planes = [np.full((height, 64), 60, np.uint8), *(np.full((height // 2, 32), 128, np.uint8) for _ in range(2))]
        for parity in (0, 1):
            moment = 2 * index + (parity if top_first else 1 - parity)
            planes[0][parity::2, 2 * moment : 2 * moment + 8] = 200
        frame = av.VideoFrame(64, height, "yuv420p")
        for plane, values in zip(frame.planes, planes, strict=True):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            rows[: values.shape[0], : values.shape[1]] = values
        frame.pts, frame.time_base = index, Fraction(1, 25)
        graph.push(frame)
        out.mux(stream.encode(graph.pull()))
    out.mux(stream.encode(None))
    out.close()
    return path
