"""How a stream becomes this worker's: it waits for a place among those that run here, and for its lease."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from pipeline.errors import DerainError
from pipeline.service.lease import Holder, Lease
from pipeline.service.state import State

_RETRY = 2.0


class Claim:
    """A stream's claim to run here.

    Args:
        lease: What makes it this worker's; none where there is only one worker, and it always may.
        room: Whether this worker may run one more stream.
        state: Is told what is waited for.
    """

    def __init__(self, lease: Lease | None, room: Callable[[], bool], state: State) -> None:
        self._lease, self._room, self._state = lease, room, state

    @property
    def descriptor(self) -> int | None:
        """The file descriptor that holds the lease, where there is one."""
        return self._lease.descriptor if self._lease else None

    @property
    def holder(self) -> Holder | None:
        """Who has the lease, where another does."""
        return self._lease.holder() if self._lease and self._state.known == "waiting" else None

    async def take(self, stop: asyncio.Event) -> bool:
        """Wait until the stream is ours; False where it is to stop before."""
        if self._lease is None or self._lease.descriptor is not None:
            return not stop.is_set()
        while not stop.is_set():
            self._state.set("waiting", "This worker has as many streams as it may.")
            try:
                if self._room():
                    if self._lease.take():
                        return True
                    holder = self._lease.holder()
                    self._state.set("waiting", f"{holder.host} has it." if holder else "Another worker has it.")
            except DerainError as error:  # a shared folder may be away for a while
                self._state.set("waiting", str(error))
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stop.wait(), _RETRY)
        return False

    def drop(self) -> None:
        """Give the lease back."""
        if self._lease:
            self._lease.drop()
