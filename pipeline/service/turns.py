"""Start, stop and restart of one stream, one after the other in the order they are asked for.

Each run has its own event to be stopped by: a start that is asked for while the run before still ends waits for that
end, and a stop that is asked for meanwhile is meant for the run that waits, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Turn:
    stop: asyncio.Event
    task: asyncio.Task[None]


class Turns:
    """Runs something again and again, never twice at a time. Belongs to one event loop.

    Args:
        run: What is run; it ends by itself, or soon after the event that it is given is set.
    """

    def __init__(self, run: Callable[[asyncio.Event], Awaitable[None]]) -> None:
        self._run = run
        self._last: _Turn | None = None

    @property
    def wanted(self) -> bool:
        """Whether it is meant to run: now, or when the run before has ended."""
        return self._last is not None and not self._last.stop.is_set() and not self._last.task.done()

    @property
    def ended(self) -> bool:
        """Whether nothing runs, nor waits to."""
        return self._last is None or self._last.task.done()

    def start(self) -> None:
        """Have it run from now on, or as soon as the run before has ended; nothing where that is so already."""
        if self.wanted:
            return
        before, stop = self._last, asyncio.Event()
        self._last = _Turn(stop, asyncio.create_task(self._take_turn(before.task if before else None, stop)))

    def ask_to_stop(self) -> None:
        """Have it end."""
        if self._last is not None:
            self._last.stop.set()  # those before were asked when this one was put behind them

    def end(self) -> asyncio.Future[None]:
        """To be awaited: the end of all that was started before this is called."""
        if self._last is None:
            nothing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            nothing.set_result(None)
            return nothing
        return asyncio.shield(self._last.task)

    async def _take_turn(self, before: asyncio.Task[None] | None, stop: asyncio.Event) -> None:
        if before is not None:
            await before
        if not stop.is_set():
            await self._run(stop)
