"""Segments of a job whose result is a folder of pictures.

.out.derain/
    000000.pictures/   the pictures of a segment
    000000.segment     says that they are all there; it holds no packets
    pictures/          where they come together, to appear at once under the destination's name
"""

from __future__ import annotations

import os

from pipeline.errors import DerainError
from pipeline.frame import Frame, StreamInfo
from pipeline.job import Job, Piece
from pipeline.segment_file import Foot, Head, SegmentWriter
from pipeline.segments import WorkFolder
from pipeline.sinks.pictures import PictureSink
from pipeline.sinks.temporary import put_in_place, sync, writing


class PictureSegment(PictureSink):
    """Writes the pictures of one segment."""

    def __init__(self, job: Job, info: StreamInfo, source: str, work: WorkFolder, piece: Piece) -> None:
        into = work.pictures(piece.number)
        super().__init__(job.destination.rstrip("/"), info, job.encode.overwrite, source, into)
        self._segment, self._piece = work.segment(piece.number), piece

    @property
    def timeline(self) -> None:
        """Pictures have no time that frames before could have moved."""
        return

    def _number(self, frame: Frame) -> int:
        return self._piece.frame + self.frames + 1

    def finish(self, last: bool, following: Piece) -> None:
        """Say that all are there."""
        head = Head(number=self._piece.number, codec="", extradata=b"", time_base=(1, 1))
        foot = Foot(
            frames=self.frames, checksum=0, last=last, next=following, inexact=0, moved=0, warnings=self.warnings
        )
        try:
            with writing(self.destination):
                sync(self._temporary)
                SegmentWriter(self._segment, head).finish(foot)
        except BaseException:
            self.abort()
            raise
        self._open = False


def put_together(work: WorkFolder, job: Job, feet: list[Foot]) -> list[str]:
    """Make the folder of all segments' pictures. Cut off at any moment, it can be done again.

    Returns:
        What the pictures could not keep, one sentence each.

    Raises:
        DerainError: It cannot be written.
    """
    destination = job.destination.rstrip("/")
    there = os.path.isdir(destination)
    into = destination if there else os.path.join(work.path, "pictures")
    with writing(destination):
        os.makedirs(into, exist_ok=True)
        for number in range(len(feet)):
            folder = work.pictures(number)
            for name in os.listdir(folder):
                os.replace(os.path.join(folder, name), os.path.join(into, name))
        if len(os.listdir(into)) < sum(foot.frames for foot in feet):
            raise DerainError(f"{work.path}: pictures are missing from it; pass --restart to begin anew")
        if there:
            sync(into)
        else:
            work.note_placed(into)
            put_in_place(into, destination, job.encode.overwrite)
    return list(dict.fromkeys(text for foot in feet for text in foot.warnings))
