"""One progress for a whole batch: files, bytes of source, time left, and what is being done now. On stderr."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pipeline.batch import Watcher
from pipeline.batch_files import BatchFile
from pipeline.batch_report import BEING_MADE
from pipeline.job import Job, JobResult


class BatchProgress(Watcher):
    """A context around a batch. Where stderr is no terminal, a line for each file that failed is all there is.

    The time left is reckoned from the bytes of source that are done, as files differ in length.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(file=sys.stderr)
        self._quiet = quiet
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TextColumn("{task.fields[now]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._task: TaskID = self._bar.add_task("", total=0, now="")
        self._size: dict[str, int] = {}
        self._part: dict[str, float] = {}
        self._elsewhere: set[str] = set()
        """Another run is making them; they are added again."""
        self._files = self._ended = self._failed = 0
        self._done = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def add(self, files: list[BatchFile]) -> None:
        """These will be done."""
        self._size |= {file.destination: file.size for file in files}
        self._files += sum(file.destination not in self._elsewhere for file in files)
        self._elsewhere.clear()
        self._show("")

    def started(self, job: Job) -> None:
        self._part[job.destination] = 0.0
        self._show(job.source)

    def going(self, job: Job, frames: int, total: int | None) -> None:
        if total:
            self._part[job.destination] = min(1.0, frames / total) * self._size.get(job.destination, 0)
            self._show(job.source)

    def done(self, result: JobResult) -> None:
        self._part.pop(result.destination, None)
        if result.status == BEING_MADE:
            self._elsewhere.add(result.destination)
            self._show("")
            return
        self._done += self._size.pop(result.destination, 0)
        self._ended += 1
        if result.status == "failed":
            self._failed += 1
            if not self._quiet:
                self._console.print(f"derain: {result.error}", markup=False, highlight=False, soft_wrap=True)
        self._show("")

    def _show(self, now: str) -> None:
        failed = f", {self._failed} failed" if self._failed else ""
        self._bar.update(
            self._task,
            description=f"{self._ended} of {self._files} files{failed}",
            completed=self._done + sum(self._part.values()),
            total=self._done + sum(self._size.values()),
            now=now[-40:],
        )
