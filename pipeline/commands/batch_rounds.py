"""What `derain batch` does with its files: once, or again and again while it watches."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

from pipeline.batch import Stop, Watcher
from pipeline.batch_files import BatchFile
from pipeline.batch_progress import BatchProgress
from pipeline.batch_report import BEING_MADE, PENDING, SKIPPED, BatchReport, report_of
from pipeline.job import Job, JobResult
from pipeline.segments import WorkFolder
from pipeline.watch_folder import WatchFolder

_LOOK_EVERY = 1.0  # seconds
_WAITING = "derain: another run is making what is left; waiting for it"


class Runner(Protocol):
    """Carries out jobs (`pipeline.batch.Batch`)."""

    def run(self, jobs: list[Job], watch: Watcher, stop: Stop = ...) -> list[JobResult]: ...


class Rounds:
    """Sorts files into those that are done and those to do, and has the latter done."""

    def __init__(self, job_of: Callable[[BatchFile], Job], *, overwrite: bool, quiet: bool) -> None:
        self._job_of, self._overwrite, self._quiet = job_of, overwrite, quiet
        self._results: list[JobResult] = []
        self._elsewhere: list[BatchFile] = []
        """Another run is making them. It may fail, or be killed, so they are looked at again."""

    def tell(self, files: list[BatchFile]) -> None:
        """What would be done, a line for each file, on stdout."""
        for file in files:
            begun = WorkFolder(file.destination).numbers()
            what = "done   " if self._is_done(file) else "resume " if begun else "derain "
            print(f"{what} {file.source} -> {file.destination}")
        left = self.waiting(files)
        print(f"{len(left)} of {len(files)} files to do, {sum(file.size for file in left) / 1e6:,.1f} MB")

    def waiting(self, files: list[BatchFile]) -> list[BatchFile]:
        """Those that are not done yet."""
        return [file for file in files if not self._is_done(file)]

    def run(self, runner: Runner, look: Callable[[], list[BatchFile]], stop: Stop, stable: float | None) -> BatchReport:
        """Do what there is; with `stable`, go on looking for files that have not changed for so many seconds."""
        began = time.monotonic()
        with BatchProgress(quiet=self._quiet) as progress:
            if stable is None:
                self._round(look(), runner, progress, stop)
                if self._elsewhere and not self._quiet:
                    print(_WAITING, file=sys.stderr, flush=True)
                while self._elsewhere and not stop():
                    _pause(stop)
                    self._round([], runner, progress, stop)
            else:
                folder = WatchFolder(look, stable)
                while not stop():
                    self._round(folder.ready(), runner, progress, stop)
                    _pause(stop)
        self._results += [self._result(file, PENDING) for file in self._elsewhere]
        return report_of(self._results, time.monotonic() - began)

    def _round(self, files: list[BatchFile], runner: Runner, progress: BatchProgress, stop: Stop) -> None:
        files, self._elsewhere = self._elsewhere + files, []
        todo = self.waiting(files)
        self._results += [self._result(file, SKIPPED) for file in files if self._is_done(file)]
        if not todo:
            return
        progress.add(todo)
        results = runner.run([self._job_of(file) for file in todo], progress, stop)
        status = {result.destination: result.status for result in results}
        self._elsewhere = [file for file in todo if status.get(file.destination) == BEING_MADE]
        self._results += [result for result in results if result.status != BEING_MADE]
        self._results += [self._result(file, PENDING) for file in todo if file.destination not in status]

    def _is_done(self, file: BatchFile) -> bool:
        if not os.path.lexists(file.destination) or self._overwrite:
            return False
        return not WorkFolder(file.destination).is_placed()  # else a run was killed when it only had to clear away

    def _result(self, file: BatchFile, status: str) -> JobResult:
        return JobResult(
            status=status, source=file.source, destination=file.destination, model=self._job_of(file).model
        )


def _pause(stop: Stop) -> None:
    until = time.monotonic() + _LOOK_EVERY
    while not stop() and time.monotonic() < until:
        time.sleep(0.1)
