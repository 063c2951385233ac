"""Progressive frames from interlaced ones, with FFmpeg's bwdif (Weston three-field filter with yadif's decisions)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import av
    from av.filter.graph import Graph


def deinterlaced(frames: Iterator[av.VideoFrame], base: Fraction) -> Iterator[av.VideoFrame]:
    """One progressive frame for each frame, with its pts; those that are not flagged as interlaced pass unchanged.

    The filter looks one frame ahead, and is made anew where size or format change.

    Args:
        frames: As decoded, in presentation order.
        base: Seconds a tick of their pts.
    """
    graph: Graph | None = None
    made_for: tuple[int, int, str] | None = None
    for frame in frames:
        kind = (frame.width, frame.height, frame.format.name)
        if graph is None or kind != made_for:
            if graph is not None:
                yield from _flushed(graph, base)
            graph, made_for = _graph(frame, base), kind
        graph.push(frame)
        yield from _ready(graph, base)
    if graph is not None:
        yield from _flushed(graph, base)


def _graph(frame: av.VideoFrame, base: Fraction) -> Graph:
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)
    bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(bwdif)
    bwdif.link_to(sink)
    graph.configure()
    return graph


def _flushed(graph: Graph, base: Fraction) -> Iterator[av.VideoFrame]:
    graph.push(None)
    yield from _ready(graph, base)


def _ready(graph: Graph, base: Fraction) -> Iterator[av.VideoFrame]:
    """What the filter has ready; its clock ticks twice as fast as the source's."""
    import av
    import av.error

    while True:
        try:
            frame = cast("av.VideoFrame", graph.pull())
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        if frame.pts is not None and frame.time_base is not None:
            frame.pts = round(frame.pts * Fraction(frame.time_base) / base)
            frame.duration = round((frame.duration or 0) * Fraction(frame.time_base) / base)
            frame.time_base = base
        yield frame
