"""What a video stream is: said by the container, the decoder and the first frame, which has the last word."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pipeline.colour import BT709, FULL, LIMITED
from pipeline.frame import Rational, StreamInfo
from pipeline.hdr import content_light, mastering_display
from pipeline.pixels import carried_format, is_rgb
from pipeline.sources.deinterlace import is_top_first

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream

_EDITED = 0.9
"""Part of the stored frames that are shown at most where an edit list cuts some off."""


def _rational(value: Fraction | None) -> Rational | None:
    """None for unknown, which FFmpeg writes as 0/1 or 0/0 and PyAV as None or 0."""
    return (value.numerator, value.denominator) if value else None


def display_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """The frame's display matrix; None if it has none, or other data beside it that PyAV does not know the type of."""
    try:
        held = cast("Mapping[str, Any]", frame.side_data)  # PyAV's stub knows motion vectors only
        data = held["DISPLAYMATRIX"]
    except (KeyError, ValueError):
        return None
    return tuple(int(number) for number in np.frombuffer(memoryview(data), np.int32)[:9])


def field_order(stream: VideoStream, frame: av.VideoFrame) -> int:
    """AV_FIELD_*; 0 where frames are progressive. The frame itself has the last word on which field is first."""
    if not frame.interlaced_frame:
        return 0
    told, fitting = stream.codec_context.field_order, (2, 4) if is_top_first(frame) else (3, 5)
    return told if told in fitting else fitting[0]


def _counted(stream: VideoStream) -> int:
    """How many frames the tags say that mkvmerge writes into Matroska; 0 if they do not."""
    tags = {key.upper().removesuffix("-ENG"): value for key, value in stream.metadata.items()}
    count = tags.get("NUMBER_OF_FRAMES", "")
    return int(count) if count.isdecimal() else 0


def describe(
    stream: VideoStream, frame: av.VideoFrame, container_duration: int | None, location: int, native: bool
) -> StreamInfo:
    """The stream, with the frames' format as they are carried.

    Args:
        stream: Its decoder has given the first frame.
        frame: That frame.
        container_duration: In microseconds, where the container tells.
        location: AVCHROMA_LOC_* (`pipeline.colour.chroma_location`).
        native: See `pipeline.pixels.carried_format`.
    """
    source_format = frame.format.name
    context = stream.codec_context
    assert stream.time_base is not None
    rate = stream.average_rate or stream.guessed_rate
    duration: float | None = None
    if stream.duration is not None:
        duration = float(stream.duration * stream.time_base)
    elif container_duration is not None:
        duration = container_duration / 1_000_000
    estimated = round(duration * rate) if duration and rate else None
    frames = stream.frames or _counted(stream) or estimated
    if frames and estimated and estimated < _EDITED * frames:
        frames = estimated  # an edit list hides the rest
    full = source_format.startswith("yuvj") or FULL in (frame.color_range, context.color_range)
    tags: dict[str, Any] = {
        "color_range": FULL if full else frame.color_range or context.color_range,
        "color_primaries": frame.color_primaries if frame.color_primaries != 2 else context.color_primaries,
        "color_trc": frame.color_trc if frame.color_trc != 2 else context.color_trc,
        "colorspace": frame.colorspace if frame.colorspace != 2 else context.colorspace,
        "chroma_location": location,
    }
    carried = carried_format(source_format, native)
    if is_rgb(carried):
        tags |= {"color_range": FULL, "chroma_location": 0}
    elif is_rgb(source_format):  # what `pipeline.pixels.pack` makes of it
        tags |= {"color_range": LIMITED, "colorspace": BT709, "chroma_location": 1}
    return StreamInfo(
        width=frame.width,
        height=frame.height,
        pixel_format=carried,
        time_base=(stream.time_base.numerator, stream.time_base.denominator),
        average_rate=_rational(rate),
        frames=frames,
        duration=duration,
        sample_aspect_ratio=_rational(stream.sample_aspect_ratio or context.sample_aspect_ratio),
        rotation=frame.rotation,
        display_matrix=display_matrix(frame),
        source_pixel_format=source_format,
        source_codec=context.codec.canonical_name,
        field_order=field_order(stream, frame),
        mastering_display=mastering_display(frame),
        content_light=content_light(frame),
        **tags,
    )
