"""The last step of a long job: the segments' packets into one file, with all else that the source holds (of pictures
see `pipeline.picture_segments`).

Nothing is encoded again. The file is opened as it would be for writing frames, with an encoder that only serves to
describe the stream, so that tags, metadata and the other streams are what they are in a file written in one go.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import cast

import av
from av.video.stream import VideoStream

from pipeline.errors import DerainError
from pipeline.frame import StreamInfo
from pipeline.job import Job
from pipeline.picture_segments import put_together
from pipeline.segment_file import Foot, StoredPacket, packets, read_head
from pipeline.segments import WorkFolder
from pipeline.sinks.destination import is_folder
from pipeline.sinks.file import FileSink
from pipeline.sinks.temporary import sync, writing


def join(work: WorkFolder, job: Job, source: str, stop: Callable[[], None] = lambda: None) -> list[str]:
    """Make the destination of all segments of a work folder, which stays as it is.

    Args:
        work: With a manifest and segments, the last of which says so.
        job: Where to, and how it was encoded.
        source: The file whose other streams are copied; "" for none.
        stop: Raises where the job is to be given up.

    Returns:
        What the container could not keep, one sentence each.

    Raises:
        DerainError: Segments are missing or damaged, or the destination cannot be written.
    """
    kept = work.read()
    feet = work.feet()
    if kept is None or not feet or not feet[-1].last:
        raise DerainError(f"{work.path}: not all segments are there; run again to make those that are missing")
    if work.is_placed():  # killed before the folder was removed, or before the other film was joined
        return list(dict.fromkeys(text for foot in feet for text in foot.warnings))
    if is_folder(job.destination):
        return put_together(work, job, feet)
    paths = [work.segment(number) for number in range(len(feet))]
    with _JoinedFile(work, job, kept.info, source, feet) as sink:
        for path in paths:
            sink.check(path)
        for packet in _in_one_order(paths):
            stop()
            sink.take(packet)
    return [text for foot in feet for text in foot.warnings if text not in sink.warnings] + sink.warnings


def _in_one_order(paths: list[str]) -> Iterator[StoredPacket]:
    """All packets, with the decoding timestamps that one encoder would have given them.

    Each segment's encoder has put the timestamps of the frames it reorders before the first pts of the segment, where
    the segment before still has frames. As in `pipeline.sinks.clock`, the n-th packet gets the n-th pts less as many
    as are reordered: those rise, and none is above its packet's pts.
    """
    delay = max(_reordered(path) for path in paths)
    held: deque[StoredPacket] = deque()
    ranked: list[int] = []  # the pts of what is held and of the `delay` packets before, rising
    started = False
    for path in paths:
        for packet in packets(path):
            held.append(packet)
            insort(ranked, packet.pts)
            if not started and len(held) > 2 * delay:  # only now the first frames are all there
                started = True
                ranked = _before(ranked, delay) + ranked
            while started and len(held) > delay:
                yield _with_dts(held.popleft(), ranked.pop(0))
    if not started:
        ranked = _before(ranked, delay) + ranked
    while held:
        yield _with_dts(held.popleft(), ranked.pop(0))


def _before(ranked: list[int], delay: int) -> list[int]:
    """Timestamps before the first pts, spaced as the first frames are."""
    first, step = ranked[0], ranked[1] - ranked[0] if len(ranked) > 1 else 1
    lag = (ranked[delay] if delay < len(ranked) else first + delay * step) - first
    spaced = [ranked[n] if n < len(ranked) else first + n * step for n in range(delay)]
    return [pts - lag for pts in spaced]


def _with_dts(packet: StoredPacket, dts: int) -> StoredPacket:
    return StoredPacket(packet.pts, dts, packet.duration, packet.keyframe, packet.data)


def _reordered(path: str) -> int:
    """How many frames the encoder of a segment reorders: so many dts lie before its first pts."""
    early = []
    for packet in packets(path):
        early.append(packet)
        if packet.dts >= early[0].pts:  # the first packet of a segment is its first frame
            return len(early) - 1
    return len(early) - 1


class _JoinedFile(FileSink):
    """A FileSink that takes packets."""

    def __init__(self, work: WorkFolder, job: Job, info: StreamInfo, source: str, feet: list[Foot]):
        super().__init__(job.destination, info, job.encode, source)
        self._work = work
        self._clock.inexact = sum(foot.inexact for foot in feet)
        self._clock.timeline.moved = sum(foot.moved for foot in feet)

    def check(self, path: str) -> None:
        """DerainError where a segment is of another encoder than this file is described by."""
        head = read_head(path)
        context = self._stream.codec_context
        if (head.codec, head.extradata) != (self._settings.codec, bytes(context.extradata or b"")):
            raise DerainError(f"{path}: comes from an encoder that was set up otherwise; pass --restart to begin anew")
        if Fraction(*head.time_base) != self._time_base:
            raise DerainError(f"{path}: counts time in another clock; pass --restart to begin anew")

    def take(self, stored: StoredPacket) -> None:
        """Mux one packet of a segment."""
        packet = cast("av.Packet[VideoStream]", av.Packet(stored.data))
        packet.pts, packet.dts, packet.duration = stored.pts, stored.dts, stored.duration
        packet.time_base, packet.is_keyframe, packet.stream = self._time_base, stored.keyframe, self._stream
        with writing(self.destination):
            self._put(packet)
        self.frames += 1

    def _flush(self) -> None:
        """The encoder was never fed."""

    def _place(self) -> None:
        sync(self._temporary)  # so that its times are the last
        self._work.note_placed(self._temporary)
        super()._place()
