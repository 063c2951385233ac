"""A file job from beginning to end, whatever happened to it before: it goes on where an earlier run was cut off."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from pipeline.errors import DerainError
from pipeline.films import Films
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
    films = Films(job)
    feet = _kept(films, restart)
    try:
        if feet and feet[-1].last:
            return _only_joined(films, feet, watch, stop)
        piece = feet[-1].next if feet else None
        result = run(msgspec.structs.replace(job, piece=piece), watch, stop)
    except Interrupted as stopped:
        raise Interrupted(_what_is_kept(films)) from stopped
    except DerainError as error:
        if kept := _what_is_kept(films):
            raise type(error)(f"{error}; {kept}") from error
        raise
    if piece:
        result.resumed = piece.frame
        result.frames_in += piece.frame - len(piece.tail)
        result.fps = (result.frames_out - piece.frame) / result.seconds
    return result


def _kept(films: Films, restart: bool) -> list[Foot]:
    """What an earlier run of the same job has finished. Removes what is not wanted or of no use."""
    job = films.job
    if not films.exist():
        return []
    films.lock()
    try:
        if restart or not job.segment:
            _remove_all(films)
            return []
        for work, of in films.each:
            _check_same(work, of)
        feet = films.feet()
        if not feet:  # none is done, or the first is gone
            films.remove()
            return []
        if job.model != IDENTITY and feet and not feet[-1].last:
            feet = feet[: last_kept(films.result, len(feet))]
        return feet
    finally:
        for work, _ in films.each:
            work.remove_if_empty()  # where the lock has made it
        films.unlock()


def _remove_all(films: Films) -> None:
    """Remove the work folders, and that of a rain layer which this run is not asked for."""
    with suppress(DerainError):
        before = films.result.read()
        if before and (path := before.settings.get("save_rain")) and path != films.job.destination:
            layer = WorkFolder(path)
            if layer.exists() and (films.layer is None or layer.path != films.layer.path):
                layer.lock()
                layer.remove()
    films.remove()


def _check_same(work: WorkFolder, job: Job) -> None:
    """DerainError where there are segments of another job."""
    if not work.numbers():
        return
    if (before := work.read()) is None:
        work.drop_from(0)
        return
    try:
        now = manifest(job, before.info)  # the encode stage compares the stream too
    except OSError as error:
        raise DerainError(f"{job.source}: cannot be read ({error.strerror})") from error
    if differs := difference(before, now):
        raise DerainError(
            f"{job.destination}: an earlier run was cut off, but it had {differs}; "
            f"put that back, or pass --restart to begin anew (its segments are in {work.path})"
        )


def _only_joined(films: Films, feet: list[Foot], watch: Watcher, stop: Callable[[], bool]) -> JobResult:
    """The earlier run had only the joining left to do."""
    job = films.job
    frames = feet[-1].next.frame
    began = told = time.monotonic()

    def check() -> None:
        nonlocal told
        if stop():
            raise Interrupted
        if time.monotonic() - told > _TOLD_EVERY:
            told = time.monotonic()
            watch(Progress("encode", frames))

    films.lock()
    try:
        warnings = films.join(job.source if os.path.isfile(job.source) else "", check)
        films.remove()
    finally:
        films.unlock()
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


def _tidy(films: Films) -> None:
    """One film may have a segment and the other none, which is of no use."""
    if not films.layer or not films.exist():
        return
    with suppress(DerainError):  # another run is writing
        films.lock()
        films.remove_if_empty()
    films.unlock()


def _what_is_kept(films: Films) -> str:
    """For people: what a later run can go on from; "" for nothing."""
    try:
        feet = films.feet()
    except DerainError:
        return ""
    if not feet:
        _tidy(films)
        return ""
    paths = " and ".join(work.path for work, _ in films.each)
    return (
        f"{len(feet)} segment{'s' * (len(feet) > 1)} ({feet[-1].next.frame:,} frames) are kept in {paths}: "
        "the same command goes on from there, with --restart it begins anew"
    )
