"""Where the fronts of the service's streams come from, for an event loop."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence

from pipeline.job import IDENTITY
from pipeline.live.births import Birth
from pipeline.live.nursery import Nursery, Process, launch

_LOOK_EVERY = 0.02


class Births:
    """A nursery, from which each front makes its own for its stages.

    Args:
        command: A process to be started in place of each, for tests; it finds its order at standard input.
    """

    def __init__(self, command: Sequence[str] = ()) -> None:
        self._command = command
        self._nursery = None if command else Nursery()
        self._born: dict[str, Process] = {}
        self._numbered = 0

    async def have(self, order: bytes, model: str, log: int, lease: int | None) -> Process:
        """A process.

        Args:
            order: What it is told.
            model: The network that it will need.
            log: File descriptor that takes its standard error.
            lease: Descriptor that it is to hold open as long as it lives.

        Raises:
            OSError: It can't be started.
        """
        kept = [] if lease is None else [lease]
        if self._nursery is None:
            return launch(self._command, order, subprocess.DEVNULL, log, kept, group=True)
        self._numbered += 1
        name = str(self._numbered)
        model = "" if model == IDENTITY else model
        birth = Birth(name=name, kind="stream", order=order, parent=os.getpid(), model=model, kept=kept)
        self._nursery.ask(birth, log)
        while name not in self._born:
            self.look()
            await asyncio.sleep(_LOOK_EVERY)
        return self._born.pop(name)

    def look(self) -> None:
        """To be called now and then: a nursery that has died is replaced before it is needed."""
        if self._nursery is not None:
            self._born.update(self._nursery.born())

    def close(self) -> None:
        if self._nursery is not None:
            self._nursery.close()
