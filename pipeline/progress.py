"""The progress bar of a job: frames, fps, time left, model and runtime. Silent where nobody watches."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.job import Job
from pipeline.wire import Message, Ready
from pipeline.wire import Progress as StageProgress


class ProgressBar:
    """A context around a job; `watch` takes the stages' messages. On stderr, and only if that is a terminal."""

    def __init__(self, job: Job, *, quiet: bool = False) -> None:
        console = Console(file=sys.stderr)
        self._shown = not quiet and console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[fps]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not self._shown,
        )
        self._task = self._bar.add_task(job.model, total=None, fps="starting")
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def watch(self, message: Message) -> None:
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
