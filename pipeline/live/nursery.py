"""Has processes born in a nursery, which takes milliseconds; where that can't be, in interpreters of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

from pipeline.forked import Child, Forked, may_fork
from pipeline.live.backoff import Backoff
from pipeline.live.births import LARGEST, Birth, Born, pack, read_born
from pipeline.orphans import adopt_orphans
from pipeline.supervisor import child_environment

Process: TypeAlias = subprocess.Popen[bytes] | Child
_TENDED = "pipeline.live.nursery_process"
PATIENCE = 60.0
"""Seconds after which a nursery that does not answer is given up: it may hang in an import."""
PROMPT = 5.0
"""The same of one that has nothing to import, as it has borne the like of all that are asked for. A fork takes
milliseconds, and a nursery that stands still would hold up every restart."""


@dataclass
class _Asked:
    """What was asked for and has not come yet."""

    birth: Birth
    files: list[int]  # copies of those that go along
    word: int  # writing end of the pipe on which the one who is born waits
    at: float  # monotonic seconds

    def allow(self) -> None:
        """Let it begin."""
        with suppress(BrokenPipeError):  # it has died, as will be seen
            os.write(self.word, b"!")

    def forbid(self) -> None:
        """Have it end instead, if it is there."""
        if self.word >= 0:
            os.close(self.word)
            self.word = -1

    def close(self) -> None:
        self.forbid()
        for number in self.files:
            os.close(number)


class Nursery:
    """A nursery of our own. `ask` for a process, and find it among those that `born` tells of, soon after.

    What was asked of a nursery that dies is started the slow way, and another nursery takes its place.
    """

    def __init__(self) -> None:
        self._wire: socket.socket | None = None
        self._process: Process | None = None
        self._asked: dict[str, _Asked] = {}
        self._born: list[tuple[str, Process]] = []
        self._loaded: set[str] = set()  # models of those that this nursery has borne
        self._backoff = Backoff(0.5, 60.0)
        self._due = 0.0
        self._able = sys.platform == "linux"
        self.look()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process number of the nursery."""
        return self._process.pid if self._process else None

    def ask(self, birth: Birth, log: int) -> None:
        """Ask for a process; `log` takes its standard output and error."""
        reading, writing = os.pipe()
        files = [*(os.dup(number) for number in (log, *birth.kept)), reading]
        self._asked[birth.name] = _Asked(birth, files, writing, time.monotonic())
        self.look()
        if self._wire is None:
            self._start_all()
            return
        try:
            socket.send_fds(self._wire, [pack(birth)], files)
        except OSError:  # it has died, or is behind by more than the socket holds
            self._lose()

    def born(self) -> list[tuple[str, Process]]:
        """Who has been born since, by name. Never waits."""
        while self._wire is not None:
            try:
                data = self._wire.recv(LARGEST)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._lose()
                break
            self._answered(data)
        prompt = all(asked.birth.model in self._loaded for asked in self._asked.values())
        oldest = min((asked.at for asked in self._asked.values()), default=None)
        if oldest is not None and time.monotonic() - oldest > (PROMPT if prompt else PATIENCE):
            self._lose()
        self.look()
        born, self._born = self._born, []
        return born

    def look(self) -> None:
        """Start a nursery where there is none."""
        if self._wire is None and self._able and time.monotonic() >= self._due:
            self._due = time.monotonic() + self._backoff.next()
            self._open()

    def close(self) -> None:
        """End the nursery; its children live on."""
        for asked in self._asked.values():
            asked.close()
        self._asked.clear()
        self._shut()

    def _open(self) -> None:
        adopt_orphans()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                # one that was born in a nursery itself has everything in it already
                self._process = _forked(theirs) if may_fork() and _TENDED in sys.modules else _spawned(theirs)
            except OSError:
                ours.close()
                return
        ours.setblocking(False)
        self._wire = ours

    def _answered(self, data: bytes) -> None:
        born = read_born(data)
        if born.pid:
            self._backoff.reset()
            self._take(born)
        elif born.name in self._asked:  # a library has started a thread there: it would in its successor, too
            self._able = False
            self._lose()

    def _take(self, born: Born) -> None:
        if born.pid and born.name in self._asked:
            asked = self._asked.pop(born.name)
            self._loaded.add(asked.birth.model)
            asked.allow()
            asked.close()
            self._born.append((born.name, Child(born.pid)))

    def _lose(self) -> None:
        """End the nursery. Whoever it has told of is born; only the rest are started again, or there would be two."""
        self._kill()
        while self._wire is not None:
            try:
                data = self._wire.recv(LARGEST)
            except OSError:
                break
            if not data:
                break
            self._take(read_born(data))
        self._shut()
        self._start_all()

    def _shut(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        self._loaded.clear()
        self._kill()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start_all(self) -> None:
        """Start what was asked for and never came, each in an interpreter of its own."""
        all_asked, self._asked = self._asked, {}
        for name, asked in all_asked.items():
            asked.forbid()  # who was born and never told of must not begin beside this one
            self._born.append((name, _exec(asked.birth, asked.files[0])))
            asked.close()


def _forked(wire: socket.socket) -> Process:
    from pipeline.live import nursery_process

    number = wire.fileno()
    return Forked(
        lambda: nursery_process.tend(socket.socket(fileno=number)),
        ["-m", "pipeline.live.nursery_process", "-"],
        log=2,
        quiet=False,
        kept=[number],
    )


def _spawned(wire: socket.socket) -> Process:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pipeline.live.nursery_process", str(wire.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=child_environment(),
        pass_fds=[wire.fileno()],
    )


def _exec(birth: Birth, log: int) -> Process:
    command = [sys.executable, "-P", *birth.title]  # -P: no module of the working folder
    return launch(command, birth.order, log, log, birth.kept, group=birth.kind == "stream")


def launch(
    command: Sequence[str], order: bytes, out: int, errors: int, kept: Sequence[int], *, group: bool
) -> subprocess.Popen[bytes]:
    """Start a process in an interpreter of its own, which finds its order at standard input.

    A group, but no session of its own: Linux shares a core out between sessions first (sched_autogroup_enabled), and
    priorities of streams would then mean nothing to each other.

    Args:
        command: What is started.
        order: What it is told.
        out: File descriptor that takes its standard output.
        errors: The same of standard error.
        kept: Descriptors that stay open.
        group: Whether it is to be the first of a process group.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=errors,
        env=child_environment(),
        process_group=0 if group else None,
        pass_fds=kept,
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it died at once, as its parent will see
        process.stdin.write(order)
        process.stdin.close()
    return process
