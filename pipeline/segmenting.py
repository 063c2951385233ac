"""Where the segments of a long file begin, and the membranes at those moments.

The derain stage decides, because it knows the scene cuts and has the membranes: those with which a segment begins are
put beside the segments, so that a run that was cut off goes on bit for bit. Without them the network would be warmed
up on the frames before, and a spiking network may take hundreds of frames to forget how it began (docs/offline.md).
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec

from pipeline.errors import DerainError
from pipeline.frame import Frame, FrameHeader, StreamInfo
from pipeline.job import IDENTITY, Job
from pipeline.picture_names import is_picture
from pipeline.segments import WorkFolder
from pipeline.sinks.destination import is_folder

if TYPE_CHECKING:
    from esdnet import Derainer
    from esdnet.state import MembraneState
    from esdnet.tiles import TiledDerainer

_LONG = 2
"""A file is long from so many segments on; shorter ones are written in one go."""
_STILLS = 0.1
"""Of pictures that stand alone, 1/25 s each: they are large, and shown to the network several times."""
_AT_MOST = 4
"""A segment ends after so many times its length in frames at the latest, whatever the pts say."""
_KEPT = 4
"""Moments whose membranes are kept: the encoder may be a few frames behind."""


def is_segmented(job: Job, info: StreamInfo) -> bool:
    """Whether a job is written in segments. A file that does not tell its length may be endless."""
    if job.piece is not None:
        return True
    films = filter(None, (job.destination, job.restore.save_rain))
    if not job.segment or not all(_can_be(film, info) for film in films):
        return False
    rate = float(Fraction(*info.average_rate)) if info.average_rate else 25.0
    seconds = info.duration if info.duration is not None else info.frames / rate if info.frames else None
    return seconds is None or seconds >= _LONG * _seconds(job, info)


def _can_be(destination: str, info: StreamInfo) -> bool:
    """Whether what is written there can be made of segments."""
    if "://" in destination:
        return False
    return is_folder(destination) or not (info.stills or is_picture(destination))


def _seconds(job: Job, info: StreamInfo) -> float:
    """Length of a segment."""
    return job.segment * _STILLS if info.stills else job.segment


class _Membranes(msgspec.Struct, frozen=True, array_like=True):
    """What is in a file of membranes: of each network of the stream, of each of its tiles."""

    runtimes: list[str]
    states: list[list[bytes | None]]  # none where the segment begins with zeroed membranes


class Segmenting:
    """Stands around the work on each frame, `derain`.

    A segment ends before a frame that the membranes were reset for (a scene cut, where starting anew changes nothing)
    once it has half its length, else when it has its length. That frame is marked `begins`.

    Of a file whose parts are made apart, an `exact` one begins with the membranes that the part before has left, and
    leaves those with which the next has to begin.

    Args:
        job: The job; nothing is done where it is not written in segments.
        info: The stream.
        derain: What is done with a frame.
        networks: The networks it uses, once it has had a frame.
    """

    def __init__(
        self,
        job: Job,
        info: StreamInfo,
        derain: Callable[[Frame], Frame] = lambda frame: frame,
        networks: Callable[[], Sequence[Derainer | TiledDerainer]] = lambda: (),
    ) -> None:
        self._derain, self._networks = derain, networks
        self._cuts = is_segmented(job, info) and not job.single
        self._exact = job.single and job.exact and job.model != IDENTITY
        self._resumes = (self._cuts and job.piece is not None) or (self._exact and bool(job.piece and job.piece.number))
        self._goes_on = self._exact and job.piece is not None and job.piece.end is not None
        self._number = job.piece.number if job.piece else 0
        self._length = _seconds(job, info)
        rate = float(Fraction(*info.average_rate)) if info.average_rate else 25.0
        self._most = max(1, round(_AT_MOST * self._length * rate))
        self._tick = Fraction(*info.time_base)
        self._work = WorkFolder(job.destination)
        self._first: int | None = None
        self._last = 0
        self._count = 0
        self._writer: threading.Thread | None = None

    def __call__(self, frame: Frame) -> Frame:
        """The derained frame."""
        header = frame.header
        if self._resumes and not header.warmup:
            self._resumes = False
            if not self._put_back() and self._exact:
                raise DerainError(f"{self._work.path}: the membranes of part {self._number} are gone; start again")
        if not self._cuts or header.warmup:
            return self._derain(frame)
        due = self._is_due(header, self._length)
        held = [_states(network) for network in self._networks()] if due else []
        derained = self._derain(frame)
        cut = bool(derained.header.reset) and self._is_due(header, self._length / 2)
        if due or cut:
            derained.header = msgspec.structs.replace(derained.header, begins=True)
            self._number += 1
            self._first, self._count = None, 0
            self._keep([] if derained.header.reset else held)
        if self._first is None:
            self._first = header.pts
        self._last, self._count = header.pts, self._count + 1
        return derained

    def _is_due(self, header: FrameHeader, length: float) -> bool:
        """Whether a segment of this length ends before this frame."""
        if self._first is None or header.pts <= self._last:
            return False
        seconds = float((header.pts - self._first) * self._tick) + 1e-6  # so that 0.4 s are ten frames of 40 ms
        return seconds >= length or self._count >= self._most

    def _keep(self, held: list[list[MembraneState | None]]) -> None:
        """Put the membranes with which this segment begins beside it, while the frames go on."""
        if not self._networks() or not self._work.exists():
            return
        self.finish()
        runtimes = [network.runtime for network in self._networks()]
        self._writer = threading.Thread(target=_write, args=(self._work, self._number, runtimes, held))
        self._writer.start()

    def finish(self) -> None:
        """Wait until the last membranes are written. DerainError where a part cannot leave its own."""
        if self._goes_on:
            self._goes_on = False
            self._number += 1
            self._keep([_states(network) for network in self._networks()])
            self.finish()
            if not _read(self._work, self._number):
                raise DerainError(f"{self._work.path}: the membranes of part {self._number} cannot be kept there")
        if self._writer:
            self._writer.join()

    def _put_back(self) -> bool:
        """Go on from the membranes that were kept, if they are of the same runtime."""
        networks = self._networks()
        kept = _read(self._work, self._number)
        if kept is None or not kept.states or kept.runtimes != [network.runtime for network in networks]:
            return False  # warmed up, or at a cut where the membranes are zeroed
        from esdnet.state import MembraneState

        for network, states in zip(networks, kept.states, strict=True):
            _put(network, [None if data is None else MembraneState.from_bytes(data) for data in states])
        return True


def last_kept(work: WorkFolder, number: int) -> int:
    """The last segment up to `number` whose membranes are whole, so that a run can go on from it bit for bit.

    `number` itself where none of those kept is: it will be warmed up.
    """
    return exactly_from(work, number) or number


def exactly_from(work: WorkFolder, number: int) -> int:
    """As `last_kept`, but 0 where none is: then only the beginning will do."""
    return next((n for n in range(number, max(0, number - _KEPT), -1) if _read(work, n)), 0)


def _path(work: WorkFolder, number: int) -> str:
    return os.path.join(work.path, f"{number:06d}.membranes")


def _write(work: WorkFolder, number: int, runtimes: list[str], held: list[list[MembraneState | None]]) -> None:
    """Where that fails, an earlier segment's are gone on from; the encode stage says so where the disk is full."""
    states = [[None if state is None else state.to_bytes() for state in states] for states in held]
    data = msgspec.msgpack.encode(_Membranes(runtimes, states))
    path = _path(work, number)
    with suppress(OSError):
        with open(f"{path}.part", "wb") as file:
            file.write(zlib.crc32(data).to_bytes(4, "little"))
            file.write(data)
        os.replace(f"{path}.part", path)
        with suppress(FileNotFoundError):
            os.unlink(_path(work, number - _KEPT))


def _read(work: WorkFolder, number: int) -> _Membranes | None:
    """None where they are not there, or not whole."""
    try:
        with open(_path(work, number), "rb") as file:
            checksum, data = int.from_bytes(file.read(4), "little"), file.read()
        return msgspec.msgpack.decode(data, type=_Membranes) if checksum == zlib.crc32(data) else None
    except (OSError, msgspec.MsgspecError):
        return None


def _states(network: Derainer | TiledDerainer) -> list[MembraneState | None]:
    from esdnet import Derainer

    return [network.state] if isinstance(network, Derainer) else network.states


def _put(network: Derainer | TiledDerainer, states: list[MembraneState | None]) -> None:
    from esdnet import Derainer

    if isinstance(network, Derainer):
        (network.state,) = states
    else:
        network.states = states
