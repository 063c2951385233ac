"""The sink of a long file: one finished segment after the other, joined at the end.

The frames keep flowing while one encoder is closed and the next is opened; no process starts anew. Each segment begins
with a keyframe of an encoder that knows nothing of the one before, so it does not matter whether the run was cut off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from pipeline.errors import DerainError
from pipeline.films import Films
from pipeline.frame import Frame, StreamInfo
from pipeline.job import Job, Piece
from pipeline.manifest import difference, manifest
from pipeline.picture_segments import PictureSegment
from pipeline.segment_file import Foot, Head, SegmentWriter, StoredPacket
from pipeline.segmenting import is_segmented
from pipeline.segments import WorkFolder
from pipeline.sinks.destination import is_folder
from pipeline.sinks.file import FileSink
from pipeline.sinks.options import EncodeOptions
from pipeline.sinks.sink import Sink
from pipeline.sinks.temporary import check_destination, writing

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

    from pipeline.sinks.timeline import Timeline


def open_segments(job: Job, info: StreamInfo, source: str, stop: Callable[[], None] = lambda: None) -> Sink | None:
    """The sink for a job whose result is long enough to be written in segments; None where it is not.

    Args:
        job: The job.
        info: The stream, as its source describes it.
        source: The file whose other streams are copied; "" for none.
        stop: Raises where the job is to be given up; asked while segments are joined.

    Raises:
        DerainError: Another run writes the same destination, or what was done before does not fit.
    """
    return SegmentSink(job, info, source, stop) if is_segmented(job, info) else None


class SegmentSink(Sink):
    """Writes the segments of a job, or the one segment of a piece that has an end.

    `pipeline.segmenting` has marked the frames that a segment begins with. `frames` counts those of earlier runs too.
    """

    def __init__(self, job: Job, info: StreamInfo, source: str, stop: Callable[[], None]) -> None:
        super().__init__(job.destination)
        self._job, self._info, self._source, self._stop = job, info, source, stop
        self._piece = job.piece or Piece(number=0, frame=0, tail=[])
        self._single = job.single
        before = zip(self._piece.tail, self._piece.marks or [0] * len(self._piece.tail), strict=True)
        # pictures that stand alone need no frames before them
        self._tail: deque[tuple[int, int]] = deque(before, maxlen=0 if info.stills else job.warmup)
        self._encoder: _SegmentEncoder | PictureSegment | None = None
        self._open = True
        self.frames = self._piece.frame
        self._work = WorkFolder(job.destination)
        if not self._single:
            self._work.lock()
        try:
            check_destination(job.destination, job.encode.overwrite)  # now that nobody else can put one there
            with writing(job.destination):
                if not self._single:
                    self._claim()
        except BaseException:
            self.abort()
            raise

    def _claim(self) -> None:
        """Make the work folder ours: new, or the one this run goes on from."""
        now = manifest(self._job, self._info)
        before = self._work.read() if self._job.piece else None
        if self._job.piece is None or before is None:
            if self._job.piece or self._work.numbers():
                raise DerainError(f"{self._work.path}: was changed while this run began; start again")
            self._work.drop_from(0)
            self._work.write(now)
            return
        if differs := difference(before, now):
            raise DerainError(f"{self._work.path}: was made from {differs}; pass --restart to begin anew")
        feet = self._work.feet()
        number = self._piece.number  # there may be more, whose membranes are lost
        if len(feet) < number or (number and feet[number - 1].next != self._piece):
            raise DerainError(f"{self._work.path}: was changed while this run began; start again")
        self._work.drop_from(self._piece.number)

    def _write(self, frame: Frame) -> None:
        if not self._open:
            raise DerainError(f"{self.destination}: is closed already")
        if frame.header.warmup:
            return
        if self._encoder and frame.header.begins:
            self._finish_segment(last=False)
        if self._encoder is None:
            self._begin_segment()
        assert self._encoder is not None
        self._encoder.write(frame)
        self._tail.append((frame.header.pts, frame.header.mark))
        self.frames += 1

    def _begin_segment(self) -> None:
        if is_folder(self.destination):
            self._encoder = PictureSegment(self._job, self._info, self._source, self._work, self._piece)
            return
        path = self._work.segment(self._piece.number)
        self._encoder = _SegmentEncoder(self.destination, self._info, self._job.encode, path, self._piece)

    def _finish_segment(self, last: bool) -> None:
        encoder = self._encoder
        assert encoder is not None
        timeline = encoder.timeline
        self._piece = Piece(
            number=self._piece.number + 1,
            frame=self.frames,
            tail=[pts for pts, _ in self._tail],
            marks=[mark for _, mark in self._tail],
            timeline=(timeline.shift, timeline.last, timeline.last_duration) if timeline else None,
        )
        encoder.finish(last, self._piece)
        self.warnings += [text for text in encoder.warnings if text not in self.warnings]
        self._encoder = None

    def close(self) -> None:
        if not self._open:
            return
        try:
            if self._encoder is None:
                raise DerainError(f"{self.destination}: no frame arrived, so there is nothing to write")
            self._finish_segment(last=not self._single or self._piece.end is None)
            if not self._single:
                self._complete()
        except BaseException:
            self.abort()
            raise
        self._open = False

    def _complete(self) -> None:
        """All segments are there, those of the rain layer too: its last is done before the frames end."""
        films = Films(self._job)
        try:
            self.warnings = films.join(self._source, self._stop)
            films.remove()
        finally:
            films.unlock()
        self._work.unlock()

    def abort(self) -> None:
        """Give up the segment that is being written; those that are done stay for the next run."""
        if self._encoder:
            self._encoder.abort()
            self._encoder = None
        if self._open and not self._single:
            self._work.remove_if_empty()
            self._work.unlock()
        self._open = False


class _SegmentEncoder(FileSink):
    """A FileSink whose packets go into a segment instead of a container.

    It is opened for the real destination, so that the encoder is set up as that container needs it; the container's
    own file never gets more than its head and is removed.
    """

    def __init__(self, destination: str, info: StreamInfo, options: EncodeOptions, path: str, piece: Piece) -> None:
        self._writer: SegmentWriter | None = None
        super().__init__(destination, info, msgspec.structs.replace(options, overwrite=True), "")
        if piece.timeline:
            timeline = self.timeline
            timeline.shift, timeline.last, timeline.last_duration = piece.timeline
        context = self._stream.codec_context
        base = self._time_base
        head = Head(
            number=piece.number,
            codec=self._settings.codec,
            extradata=bytes(context.extradata or b""),
            time_base=(base.numerator, base.denominator),
        )
        try:
            with writing(destination):
                self._writer = SegmentWriter(path, head)
        except BaseException:
            self.abort()
            raise

    @property
    def timeline(self) -> Timeline:
        return self._clock.timeline

    def _put(self, packet: Packet[VideoStream]) -> None:
        assert self._writer is not None
        assert packet.pts is not None
        assert packet.dts is not None
        self._writer.add(StoredPacket(packet.pts, packet.dts, packet.duration or 0, packet.is_keyframe, bytes(packet)))

    def finish(self, last: bool, following: Piece) -> None:
        """Flush the encoder and give the segment its name."""
        try:
            with writing(self.destination):
                self._flush()
                assert self._writer is not None
                self._writer.finish(
                    Foot(
                        frames=self.frames,
                        checksum=0,
                        last=last,
                        next=following,
                        inexact=self._clock.inexact,
                        moved=self._clock.moved,
                        warnings=self.warnings,
                    )
                )
        finally:
            self.abort()

    def abort(self) -> None:
        super().abort()
        if self._writer:
            self._writer.abort()
