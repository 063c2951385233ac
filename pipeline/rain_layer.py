"""`--save-rain`: what was removed as a video of its own, centred on grey, to see what the network takes for rain."""

from __future__ import annotations

import msgspec

from pipeline.colour import BT709, UNSPECIFIED
from pipeline.errors import DerainError
from pipeline.films import layer_job
from pipeline.formats import pixel_format
from pipeline.frame import Frame, StreamInfo
from pipeline.hdr import is_hdr
from pipeline.job import Job
from pipeline.restore import SEEN
from pipeline.segment_sink import SegmentSink
from pipeline.segmenting import is_segmented
from pipeline.segments import WorkFolder
from pipeline.sinks import Sink, open_sink


def open_rain_layer(job: Job, info: StreamInfo) -> Sink | None:
    """The sink for `Restorer.rain`, encoded as the job's destination is; None where nobody asked for it.

    Raises:
        UsageError: Codec and container do not fit each other.
        DerainError: It exists or cannot be written, or what was done of it before does not fit.
    """
    if not job.restore.save_rain:
        return None
    layer = layer_job(job)
    if is_segmented(job, info):
        return LayerSegments(layer, layer_info(info))
    return open_sink(layer.destination, layer_info(info), layer.encode)


class LayerSegments(SegmentSink):
    """The segments of the layer. Whoever writes the result joins them too (`pipeline.films`).

    Args:
        job: Of the layer.
        info: Of the layer.
    """

    def __init__(self, job: Job, info: StreamInfo) -> None:
        piece = job.piece
        if piece and piece.number and not job.single:  # the layer's own clock goes on, not the result's
            feet = WorkFolder(job.destination).feet()
            if len(feet) < piece.number:
                raise DerainError(f"{job.destination}: its segments were changed while this run began; start again")
            piece = feet[piece.number - 1].next
        super().__init__(msgspec.structs.replace(job, piece=piece), info, "", lambda: None)

    def _complete(self) -> None:
        self._work.unlock()


def layer_info(info: StreamInfo) -> StreamInfo:
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


def write(sink: Sink | None, rain: Frame | None, begins: bool) -> None:
    """Put one frame's layer down; where a segment of the result begins with the frame, one of the layer does too.

    Frames that are shown only to warm the membranes up have none to keep.
    """
    if sink is not None and rain is not None and not rain.header.warmup:
        rain.header = msgspec.structs.replace(rain.header, begins=begins)
        sink.write(rain)
