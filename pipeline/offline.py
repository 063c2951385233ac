"""A file job from beginning to end, whatever happened to it before: it goes on where an earlier run was cut off."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from pipeline.errors import DerainError
from pipeline.job import IDENTITY, Job, JobResult
from pipeline.manifest import difference, manifest
from pipeline.segmenting import last_kept
from pipeline.segments import WorkFolder
from pipeline.supervisor import Interrupted, Progress, Supervisor, Watcher

if TYPE_CHECKING:
    from pipeline.segment_file import Foot

_TOLD_EVERY = 1.0  # seconds

Runner = Callable[[Job, Watcher, Callable[[], bool]], JobResult]


def in_processes(job: Job, watch: Watcher, stop: Callable[[], bool]) -> JobResult:
    """Run the stages of a job as three processes of their own."""
    return Supervisor(job, watch).run(stop)


def run_job(
    job: Job,
    watch: Watcher = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    *,
    restart: bool = False,
    run: Runner = in_processes,
) -> JobResult:
    """Carry a job out, going on from the segments an earlier run of the same job has finished.

    Args:
        job: Checked by `check_job`.
        watch: Called with the stages' messages.
        stop: Whether to give up.
        restart: Throw away what an earlier run has left.
        run: How the stages are run.

    Raises:
        DerainError: The job failed, or what an earlier run left does not fit. Says what is kept.
        Interrupted: `stop` said so. Its text says what is kept.
    """
    if job.single:
        return run(job, watch, stop)
    work = WorkFolder(job.destination)
    feet = _kept(work, job, restart)
    try:
        if feet and feet[-1].last:
            return _only_joined(work, job, feet, watch, stop)
        piece = feet[-1].next if feet else None
        result = run(msgspec.structs.replace(job, piece=piece), watch, stop)
    except Interrupted as stopped:
        raise Interrupted(_what_is_kept(work)) from stopped
    except DerainError as error:
        if kept := _what_is_kept(work):
            raise type(error)(f"{error}; {kept}") from error
        raise
    if piece:
        result.resumed = piece.frame
        result.frames_in += piece.frame - len(piece.tail)
        result.fps = (result.frames_out - piece.frame) / result.seconds
    return result


def _kept(work: WorkFolder, job: Job, restart: bool) -> list[Foot]:
    """What an earlier run of the same job has finished. Removes what is not wanted or of no use."""
    if not work.exists():
        return []
    work.lock()
    try:
        before = work.read()
        if restart or not job.segment or before is None or not work.numbers():
            work.remove()
            return []
        try:
            now = manifest(job, before.info)  # the encode stage compares the stream too
        except OSError as error:
            raise DerainError(f"{job.source}: cannot be read ({error.strerror})") from error
        if differs := difference(before, now):
            raise DerainError(
                f"{job.destination}: an earlier run was cut off, but it had {differs}; "
                f"put that back, or pass --restart to begin anew (its segments are in {work.path})"
            )
        feet = work.feet()
        if not feet:  # the first is gone
            work.remove()
            return []
        if job.model != IDENTITY and feet and not feet[-1].last:
            feet = feet[: last_kept(work, len(feet))]
        return feet
    finally:
        work.unlock()


def _only_joined(work: WorkFolder, job: Job, feet: list[Foot], watch: Watcher, stop: Callable[[], bool]) -> JobResult:
    """The earlier run had only the joining left to do."""
    from pipeline.join import join

    frames = feet[-1].next.frame
    began = told = time.monotonic()

    def check() -> None:
        nonlocal told
        if stop():
            raise Interrupted
        if time.monotonic() - told > _TOLD_EVERY:
            told = time.monotonic()
            watch(Progress("encode", frames))

    work.lock()
    try:
        warnings = join(work, job, job.source if os.path.isfile(job.source) else "", check)
        work.remove()
    finally:
        work.unlock()
    return JobResult(
        status="done",
        source=job.source,
        destination=job.destination,
        model=job.model,
        runtime="none",
        frames_in=frames,
        frames_out=frames,
        resumed=frames,
        seconds=time.monotonic() - began,
        warnings=warnings,
    )


def _what_is_kept(work: WorkFolder) -> str:
    """For people: what a later run can go on from; "" for nothing."""
    numbers = work.numbers()
    if not numbers:
        return ""
    try:
        frames = work.feet()[-1].next.frame
    except DerainError:
        return ""
    return (
        f"{len(numbers)} segment{'s' * (len(numbers) > 1)} ({frames:,} frames) are kept in {work.path}: "
        "the same command goes on from there, with --restart it begins anew"
    )
