"""One stream's process group: the front of a live stream (`pipeline.live.__main__`) and its stages.

The process is the first of a group of its own, so that a Ctrl-C in the terminal reaches only the service, and so that
whatever a killed stream leaves behind (its stages) can be cleared away before the next one starts.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from pipeline.live.nursery import Process
from pipeline.live_status import LiveStatus
from pipeline.service.births import Births

GROUP_GRACE = 1.0
"""Seconds that the stages of a stream that was killed have to close their files before they are killed too."""
_DYING = 2.0
"""Seconds that the kernel may take to clear a killed process away, until which it can't be waited for."""
_LINE = 2000
"""Characters of one printed line that are kept."""


def cause_of_death(code: int, status: LiveStatus | None, printed: str) -> str:
    """Why a process ended: a signal, what it said itself, or its code and what it printed last; "" for a good end."""
    if code < 0:
        cause = f"the process was killed by {signal.Signals(-code).name}"
        return cause + ("; the machine may be out of memory" if code == -signal.SIGKILL else "")
    if code == 0:  # `error` may be of an outage that was over long before the end
        return status.away if status else ""
    if status and status.error and status.state in ("failed", "stopped"):
        return status.error
    return f"the process ended with code {code}" + (f" ({printed})" if printed else "")


class StreamProcess:
    """A running process. Made by `launch`."""

    def __init__(
        self,
        process: Process,
        errors: asyncio.StreamReader,
        transport: asyncio.ReadTransport,
        said: Callable[[str], None],
    ) -> None:
        self._process, self._errors, self._transport = process, errors, transport
        self._lines: deque[str] = deque(maxlen=20)
        self._reader = asyncio.create_task(self._read(said))
        self.pid = process.pid

    @classmethod
    async def launch(
        cls, births: Births, order: bytes, model: str, said: Callable[[str], None], lease: int | None
    ) -> StreamProcess:
        """Start a process.

        Args:
            births: Where it comes from.
            order: What it is told.
            model: The network that it will need.
            said: Called with each line that it prints.
            lease: Descriptor that it is to hold open as long as it lives.

        Raises:
            OSError: It can't be started.
        """
        reading, writing = os.pipe()
        pipe = os.fdopen(reading, "rb", buffering=0)
        try:
            process = await births.have(order, model, writing, lease)
        except BaseException:
            pipe.close()
            raise
        finally:
            os.close(writing)
        errors = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(errors), pipe)
        return cls(process, errors, transport, said)

    def last_line(self) -> str:
        """What it printed last, with anything in it but blanks."""
        return next((line for line in reversed(self._lines) if line.strip()), "")

    def terminate(self) -> None:
        """Ask it to drain and end."""
        self._process.terminate()

    def kill(self) -> None:
        """End the whole group at once."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def until_end(self, asked: asyncio.Event, patience: Callable[[], float]) -> tuple[int, bool]:
        """Wait for its end, which may be asked for.

        Args:
            asked: Set where it is to drain and end.
            patience: Seconds that it has for that, before it is killed.

        Returns:
            Its exit code, negative where a signal ended it, and whether it ended without being killed by us.
        """
        ended = asyncio.create_task(_end_of(self._process))
        wanted = asyncio.create_task(asked.wait())
        await asyncio.wait({ended, wanted}, return_when=asyncio.FIRST_COMPLETED)
        wanted.cancel()
        if not ended.done():
            self.terminate()
            await asyncio.wait({ended}, timeout=patience())
        drained = ended.done()
        if not drained:
            self.kill()
        return await ended, drained

    async def clear(self) -> None:
        """After its end: let nobody of its group live on."""
        now = asyncio.get_running_loop().time
        deadline, killed = now() + GROUP_GRACE, False
        while self._group_lives() and now() < deadline + _DYING:
            if now() > deadline and not killed:
                self.kill()
                killed = True
            await asyncio.sleep(0.02)
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader
        self._transport.close()

    def _group_lives(self) -> bool:
        with suppress(ChildProcessError):
            while os.waitpid(-self.pid, os.WNOHANG)[0]:
                pass
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    async def _read(self, said: Callable[[str], None]) -> None:
        """Take in what it prints, line by line, however long the lines are."""
        rest = ""
        while chunk := await self._errors.read(8192):
            *lines, rest = (rest + chunk.decode(errors="replace")).split("\n")
            rest = rest[:_LINE]
            for line in lines:
                self._say(line[:_LINE], said)
        self._say(rest, said)

    def _say(self, line: str, said: Callable[[str], None]) -> None:
        if line.strip():
            self._lines.append(line.strip())
            said(line.rstrip())


async def _end_of(process: Process) -> int:
    """Wait for its exit code, negative where a signal ended it."""
    while (code := process.poll()) is None:
        if not hasattr(os, "pidfd_open"):  # elsewhere than on Linux
            await asyncio.sleep(0.05)
            continue
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        handle = os.pidfd_open(process.pid)
        loop.add_reader(handle, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(handle)
            os.close(handle)
    return code
