"""Where the fronts of the service's streams come from, for an event loop."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from pipeline.job import IDENTITY
from pipeline.live.births import Birth
from pipeline.live.nursery import Nursery, Process
from pipeline.supervisor import child_environment

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
            return _started(self._command, order, log, kept)
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


def _started(command: Sequence[str], order: bytes, log: int, kept: Sequence[int]) -> Process:
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=log,
        start_new_session=True,
        pass_fds=kept,
        env=child_environment(),
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it died at once, as will be seen
        process.stdin.write(order)
        process.stdin.close()
    return process
