"""The progress bar of a job: frames, fps, time left, model and runtime. Silent where nobody watches."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipeline.job import Job
from pipeline.wire import Message, Ready
from pipeline.wire import Progress as StageProgress

if TYPE_CHECKING:
    from rich.progress import Progress


class ProgressBar:
    """A context around a job; `watch` takes the stages' messages. On stderr, and only if that is a terminal."""

    def __init__(self, job: Job, *, quiet: bool = False) -> None:
        self._bar: Progress | None = None
        self._began = time.monotonic()
        if quiet or not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[fps]}"),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr),
            transient=True,
        )
        self._task = self._bar.add_task(job.model, total=None, fps="starting")

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def watch(self, message: Message) -> None:
        if self._bar is None:
            return
        match message:
            case Ready(stage="decode", info=info) if info is not None:
                self._bar.update(self._task, total=info.frames)
            case Ready(stage="derain", model=model, runtime=runtime):
                self._bar.update(self._task, description=f"{model} ({runtime})")
                self._began = time.monotonic()
            case StageProgress(stage="encode", frames=frames):
                rate = frames / max(1e-6, time.monotonic() - self._began)
                self._bar.update(self._task, completed=frames, fps=f"{rate:.1f} fps")
            case _:
                pass
