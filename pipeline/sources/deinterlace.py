"""Interlaced frames: progressive ones made of them with FFmpeg's bwdif (a Weston three-field filter with the decisions
of yadif), and which of their two fields comes first."""

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
            graph, made_for = one_filter(frame, base, "bwdif", "mode=send_frame:deint=interlaced"), kind
        graph.push(frame)
        yield from _ready(graph, base)
    if graph is not None:
        yield from _flushed(graph, base)


def is_top_first(frame: av.VideoFrame) -> bool:
    """Whether an interlaced frame is flagged to show its top field first. PyAV cannot tell, a filter can."""
    graph = one_filter(frame, Fraction(1, 1000), "select", "eq(interlace_type,TOPFIRST)")
    graph.push(frame)
    graph.push(None)
    return any(_ready(graph, Fraction(1, 1000)))


def one_filter(frame: av.VideoFrame, base: Fraction, name: str, arguments: str) -> Graph:
    """A graph of one of FFmpeg's filters, for frames like this one.

    Args:
        frame: Tells size and format.
        base: Seconds a tick of the frames' pts.
        name: Of the filter.
        arguments: As FFmpeg writes them.
    """
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)
    made, sink = graph.add(name, arguments), graph.add("buffersink")
    source.link_to(made)
    made.link_to(sink)
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
