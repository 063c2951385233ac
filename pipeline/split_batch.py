"""A batch whose long files are cut into parts that are derained apart, by workers here or by a Ray cluster.

The same plan and the same parts on one machine and on many: so the results are the same too. A part is a segment of
its file's work folder; those that are there already are not made again, and when the last is there they are joined.

A part is warmed up on the frames before it, which brings a spiking network near to where it would have been, but not
there (docs/offline.md). Where every frame has to be that of an unbroken run the parts of a file are made one after the
other, each with the membranes that the one before has left (`exact`), and workers share the files instead.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from types import TracebackType
from typing import Protocol, Self

import msgspec

from pipeline.batch import Batch, Stop, Watcher
from pipeline.errors import DerainError
from pipeline.films import Films
from pipeline.frame import StreamInfo
from pipeline.job import IDENTITY, Job, JobResult, Piece, check_job, outcome
from pipeline.manifest import difference, manifest
from pipeline.plan import WHOLE, plan
from pipeline.rain_layer import layer_info
from pipeline.segmenting import exactly_from
from pipeline.segments import WorkFolder
from pipeline.sinks.temporary import writing

LEAST_FRAMES = 0.98
"""Share of a part's packets that must become frames."""
PART_SECONDS = 60.0  # of a part, unless asked otherwise
ENCODER_THREADS = 4
"""Some encoders give other bits with other numbers of threads, so it must not depend on the machine."""
_SHOWN = 8
"""Frames before a part that gets its membranes from the one before: enough to know a scene cut by
(`pipeline.scene_cut`)."""


class PartRunner(Protocol):
    """Whoever carries out the parts: workers of this machine or a cluster. None among the jobs: nothing now, but there
    will be more once one of those that were given out has ended."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, jobs: Iterator[Job | None], watch: Watcher, stop: Stop = ...) -> list[JobResult]: ...


class SplitBatch:
    """A context like `pipeline.batch.Batch`.

    Args:
        runner: Who carries out the parts.
        seconds: Length of a part; 0 is the usual one.
        restart: Throw away what runs that were cut off have left.
        exact: Make the parts of a file one after the other, so that they are bit for bit those of an unbroken run.
    """

    def __init__(self, runner: PartRunner, seconds: float = 0.0, *, restart: bool = False, exact: bool = False) -> None:
        self._runner, self._seconds, self._restart = runner, seconds or PART_SECONDS, restart
        self._exact = exact

    def __enter__(self) -> Self:
        self._runner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.__exit__(kind, error, trace)

    def run(self, jobs: list[Job], watch: Watcher, stop: Stop = lambda: False) -> list[JobResult]:
        """Carry all jobs out; the results in the order in which they end."""
        parts = _Parts([self._in_parts(job) for job in jobs], self._restart, watch)
        try:
            self._runner.run(parts.jobs(stop), parts, stop)
            return parts.results(stop())
        finally:
            parts.close()

    def _in_parts(self, job: Job) -> Job:
        encode = job.encode
        if not encode.threads:
            encode = msgspec.structs.replace(encode, threads=ENCODER_THREADS)
        return msgspec.structs.replace(
            job,
            encode=encode,
            segment=self._seconds,
            exact=self._exact,
            warmup=_SHOWN if self._exact else job.warmup,
        )


def runner_for(ray: str | None, workers: int, retries: int, stall: float) -> PartRunner:
    """Ray where an address is given ("local" for this machine), else workers of this machine."""
    if ray is None:
        return Batch(workers, retries=retries, stall=stall)
    from pipeline.ray_runner import RayRunner

    return RayRunner(ray, retries=retries, stall=stall)


class _File:
    """One file of the batch while its parts are being made."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.films = Films(job)
        self.began = time.monotonic()
        self.waiting: deque[Piece] = deque()
        self.under_way = 0
        self.parts = 0
        self.starts: list[int] = []
        """Of each part, the frames before it, as the container tells."""
        self.error = ""
        """Of its first part that failed."""
        self.ended = False
        self.result = self.fresh()

    def fresh(self) -> JobResult:
        job = self.job
        return JobResult(status="done", source=job.source, destination=job.destination, model=job.model)

    def is_damaged(self) -> bool:
        """Whether parts of it failed, or lost something: where one part ends and the next begins that may be another
        frame than in a file that is read from end to end."""
        return bool(self.error or self.result.damaged) or self._is_short()

    def _is_short(self) -> bool:
        """Whether clearly fewer frames came of a part than there are packets in it, which no decoder complains of where
        the demuxer went to the wrong place. Half as many are fields in packets of their own."""
        for foot, (start, end) in zip(self.films.feet(), pairwise(self.starts), strict=False):
            planned = end - start
            if foot.frames < planned * LEAST_FRAMES - 1 and abs(2 * foot.frames - planned) > 1:
                return True
        return False

    def next_part(self) -> Job | None:
        """What can be begun now."""
        if not self.waiting or self.result.status != "done" or (self.job.exact and self.under_way):
            return None
        self.under_way += 1
        return msgspec.structs.replace(self.job, piece=self.waiting.popleft(), single=True)


class _Parts(Watcher):
    """Plans files as their turn comes, hears how their parts went, and joins what is complete."""

    def __init__(self, jobs: list[Job], restart: bool, watch: Watcher) -> None:
        self._jobs, self._restart, self._watch = jobs, restart, watch
        self._files: dict[str, _File] = {}
        self._ended: list[JobResult] = []

    def jobs(self, stop: Stop) -> Iterator[Job | None]:
        """The parts to be made, planned file by file. None: nothing before one of them has ended."""
        unplanned = deque(self._jobs)
        while not stop():
            open_files = [file for file in self._files.values() if not file.ended]
            part = next(filter(None, (file.next_part() for file in open_files)), None)
            if part is None and unplanned:
                self._plan(unplanned.popleft())
            elif part is None and not open_files:
                return
            else:
                yield part

    def _plan(self, job: Job) -> None:
        file = self._files[job.destination] = _File(job)
        self._watch.started(job)
        try:
            self._begin(file)
            if not file.waiting:  # an earlier run had only the joining left to do
                self._join(file)
        except (DerainError, OSError) as error:
            self._fail(file, str(error), outcome(error))

    def _begin(self, file: _File) -> None:
        from pipeline.decode import opened

        job, films = file.job, file.films
        with writing(job.destination):
            for _, of in films.each:
                os.makedirs(os.path.dirname(os.path.abspath(of.destination)), exist_ok=True)
        check_job(job)
        with opened(job) as source:
            info = source.info
        films.lock()
        for work, of in films.each:
            self._claim(work, of, info if work is films.result else layer_info(info))
        pieces = plan(job.source, job.segment, job.warmup, job.partial)
        if job.exact:
            films.drop_from(_exactly_to(films))
        done = set(films.numbers())
        file.parts, file.starts = len(pieces), [piece.frame for piece in pieces]
        file.waiting.extend(piece for piece in pieces if piece.number not in done)

    def _claim(self, work: WorkFolder, job: Job, info: StreamInfo) -> None:
        """Make a work folder ours: new, or the one that an earlier run of the same job has left."""
        now = manifest(job, info)
        now.settings.update(split=job.segment, exact=job.exact)
        before = work.read()
        if self._restart or before is None:
            work.drop_from(0)
            with writing(job.destination):
                work.write(now)
        elif differs := difference(before, now):
            raise DerainError(f"{job.destination}: an earlier run had {differs}; pass --restart to begin anew")

    def done(self, result: JobResult) -> None:
        """A part has ended."""
        file = self._files.get(result.destination)
        if file is None or file.ended:
            return
        file.under_way -= 1
        if result.status == "done":
            _add(file.result, result)
        elif result.status == "failed":
            file.error = file.error or result.error or "failed"
            file.waiting.clear()
        else:
            self._fail(file, result.error or "", result.status)
            return
        left = len(file.waiting) + file.under_way
        self._watch.going(file.job, file.parts - left, file.parts)
        if left:
            return
        try:
            if file.is_damaged() and file.parts > 1:
                self._again_as_a_whole(file)
            elif file.error:
                self._fail(file, file.error)
            else:
                self._join(file)
        except (DerainError, OSError) as error:
            self._fail(file, str(error))

    def _again_as_a_whole(self, file: _File) -> None:
        file.films.drop_from(0)
        file.parts, file.starts, file.error, file.result = 1, [], "", file.fresh()
        file.result.warnings.append(f"{file.job.source}: is damaged, so it was derained in one piece")
        file.waiting.extend(WHOLE)

    def _join(self, file: _File) -> None:
        job, total = file.job, file.result
        feet = file.films.feet()
        total.frames_in = total.frames_out = sum(foot.frames for foot in feet)
        told = file.films.join(job.source if os.path.isfile(job.source) else "")
        total.warnings += [text for text in told if text not in total.warnings]
        total.seconds = time.monotonic() - file.began
        total.fps = total.frames_out / total.seconds
        file.films.remove()
        self._end(file)

    def _fail(self, file: _File, why: str, status: str = "failed") -> None:
        file.result.status, file.result.error = status, " ".join(why.split())
        file.films.remove_if_empty()
        self._end(file)

    def _end(self, file: _File) -> None:
        file.films.unlock()
        file.ended = True
        self._ended.append(file.result)
        self._watch.done(file.result)

    def results(self, stopped: bool) -> list[JobResult]:
        """Of every file that was begun."""
        for file in self._files.values():
            if not file.ended:
                self._fail(file, "", "interrupted" if stopped else "failed")
        return self._ended

    def close(self) -> None:
        for file in self._files.values():
            file.films.unlock()


def _add(total: JobResult, part: JobResult) -> None:
    total.runtime = part.runtime
    total.damaged += part.damaged
    total.lost += part.lost
    total.warnings += [text for text in part.warnings if text not in total.warnings]
    for reason, count in part.resets.items():
        total.resets[reason] = total.resets.get(reason, 0) + count


def _exactly_to(films: Films) -> int:
    """The first part that has to be made again so that all of them follow on each other."""
    feet = films.feet()
    if films.job.model == IDENTITY or (feet and feet[-1].last):
        return len(feet)
    return exactly_from(films.result, len(feet))
