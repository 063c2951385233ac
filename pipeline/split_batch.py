"""A batch whose long files are cut into parts that are derained apart, by workers here or by a Ray cluster.

The same plan and the same parts on one machine and on many: so the results are the same too. A part is a segment of
its file's work folder; those that are there already are not made again, and when the last is there they are joined.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

import msgspec

from pipeline.batch import Batch, Stop, Watcher
from pipeline.errors import DerainError
from pipeline.job import Job, JobResult, check_job
from pipeline.join import join
from pipeline.manifest import difference, manifest
from pipeline.plan import plan
from pipeline.segments import WorkFolder
from pipeline.sinks.temporary import writing

PART_SECONDS = 60.0
"""Length of a part, unless asked otherwise."""
ENCODER_THREADS = 4
"""Some encoders give other bits with other numbers of threads, so it must not depend on the machine."""


class PartRunner(Protocol):
    """Whoever carries out the parts: workers of this machine or a cluster."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, jobs: Iterator[Job], watch: Watcher, stop: Stop = ...) -> list[JobResult]: ...


class SplitBatch:
    """A context like `pipeline.batch.Batch`.

    Args:
        runner: Who carries out the parts.
        seconds: Length of a part; 0 is the usual one.
        restart: Throw away what runs that were cut off have left.
    """

    def __init__(self, runner: PartRunner, seconds: float = 0.0, *, restart: bool = False) -> None:
        self._runner, self._seconds, self._restart = runner, seconds or PART_SECONDS, restart

    def __enter__(self) -> Self:
        self._runner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.__exit__(kind, error, trace)

    def run(self, jobs: list[Job], watch: Watcher, stop: Stop = lambda: False) -> list[JobResult]:
        """Carry all jobs out; the results in the order in which they end."""
        parts = _Parts(jobs, self._seconds, self._restart, watch)
        try:
            self._runner.run(parts.jobs(stop), parts, stop)
            return parts.results(stop())
        finally:
            parts.close()


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
        self.work = WorkFolder(job.destination)
        self.began = time.monotonic()
        self.missing: set[int] = set()
        self.parts = 0
        self.resumed = 0
        self.ended = False
        self.result = JobResult(status="done", source=job.source, destination=job.destination, model=job.model)


class _Parts(Watcher):
    """Plans files as their turn comes, hears how their parts went, and joins what is complete."""

    def __init__(self, jobs: list[Job], seconds: float, restart: bool, watch: Watcher) -> None:
        self._jobs, self._seconds, self._restart, self._watch = jobs, seconds, restart, watch
        self._files: dict[str, _File] = {}
        self._ended: list[JobResult] = []

    def jobs(self, stop: Stop) -> Iterator[Job]:
        """The parts to be made, planned file by file."""
        for asked in self._jobs:
            if stop():
                return
            encode = asked.encode
            if not encode.threads:
                encode = msgspec.structs.replace(encode, threads=ENCODER_THREADS)
            job = msgspec.structs.replace(asked, encode=encode, segment=self._seconds)
            file = self._files[job.destination] = _File(job)
            self._watch.started(job)
            try:
                yield from self._begin(file)
                if not file.missing and not file.ended:  # the last part may be done before the next is asked for
                    self._join(file)
            except (DerainError, OSError) as error:
                self._fail(file, str(error))

    def _begin(self, file: _File) -> Iterator[Job]:
        from pipeline.decode import opened

        job, work = file.job, file.work
        with writing(job.destination):
            os.makedirs(os.path.dirname(os.path.abspath(job.destination)), exist_ok=True)
        check_job(job)
        with opened(job) as source:
            now = manifest(job, source.info)
        now.settings["split"] = self._seconds
        work.lock()
        before = work.read()
        if self._restart or before is None:
            work.drop_from(0)
            with writing(job.destination):
                work.write(now)
        elif differs := difference(before, now):
            raise DerainError(f"{job.destination}: an earlier run had {differs}; pass --restart to begin anew")
        pieces = plan(job.source, self._seconds, job.warmup, job.partial)
        done = set(work.numbers())
        file.parts, file.resumed = len(pieces), sum(piece.number in done for piece in pieces)
        file.missing = {piece.number for piece in pieces} - done
        for piece in pieces:
            if piece.number in file.missing and file.result.status == "done":
                yield msgspec.structs.replace(job, piece=piece, single=True)

    def done(self, result: JobResult) -> None:
        """A part has ended."""
        file = self._files.get(result.destination)
        if file is None or file.result.status != "done":
            return
        if result.status != "done":
            self._fail(file, result.error or "", result.status)
            return
        total = file.result
        total.runtime = result.runtime
        total.damaged += result.damaged
        total.lost += result.lost
        total.warnings += [text for text in result.warnings if text not in total.warnings]
        for reason, count in result.resets.items():
            total.resets[reason] = total.resets.get(reason, 0) + count
        missing = {number for number in file.missing if not os.path.exists(file.work.segment(number))}
        file.missing = missing
        self._watch.going(file.job, file.parts - len(missing), file.parts)
        if not missing:
            try:
                self._join(file)
            except (DerainError, OSError) as error:
                self._fail(file, str(error))

    def _join(self, file: _File) -> None:
        job, total = file.job, file.result
        feet = file.work.feet()
        total.frames_in = total.frames_out = sum(foot.frames for foot in feet)
        told = join(file.work, job, job.source if os.path.isfile(job.source) else "")
        total.warnings += [text for text in told if text not in total.warnings]
        total.seconds = time.monotonic() - file.began
        total.fps = total.frames_out / total.seconds
        file.work.remove()
        self._end(file)

    def _fail(self, file: _File, why: str, status: str = "failed") -> None:
        file.result.status, file.result.error = status, " ".join(why.split())
        file.work.remove_if_empty()
        self._end(file)

    def _end(self, file: _File) -> None:
        file.work.unlock()
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
            file.work.unlock()
