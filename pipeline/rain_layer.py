"""`--save-rain`: what was removed as a video of its own, centred on grey, to see what the network takes for rain."""

from __future__ import annotations

import msgspec

from pipeline.colour import BT709, UNSPECIFIED
from pipeline.formats import pixel_format
from pipeline.frame import Frame, StreamInfo
from pipeline.hdr import is_hdr
from pipeline.job import Job
from pipeline.restore import SEEN
from pipeline.sinks import Sink, open_sink


def open_rain_layer(job: Job, info: StreamInfo) -> Sink | None:
    """The sink for `Restorer.rain`, encoded as the job's destination is; None where nobody asked for it.

    Raises:
        UsageError: Codec and container do not fit each other.
        DerainError: It exists or cannot be written.
    """
    if not job.restore.save_rain:
        return None
    options = msgspec.structs.replace(job.encode, pixel_format=None)
    return open_sink(job.restore.save_rain, _of_the_layer(info), options)


def _of_the_layer(info: StreamInfo) -> StreamInfo:
    """The layer has the format and the curve of what the network sees (`pipeline.restore`), not of the source."""
    seen = SEEN[pixel_format(info.pixel_format).kind]
    hdr = is_hdr(info.color_trc)
    return msgspec.structs.replace(
        info,
        pixel_format=seen,
        color_trc=BT709 if hdr else info.color_trc,
        color_primaries=UNSPECIFIED if hdr else info.color_primaries,
        mastering_display=None,
        content_light=None,
    )


def write(sink: Sink | None, rain: Frame | None) -> None:
    """Put one frame's layer down. Frames that are shown only to warm the membranes up have none to keep."""
    if sink is not None and rain is not None and not rain.header.warmup:
        sink.write(rain)
