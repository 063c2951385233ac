"""Processes forked from this one, which need not start an interpreter and import the libraries again.

Only a process with a single thread may be forked: locks that another thread holds stay locked in the child for ever
(OpenMP's, TBB's, ZeroMQ's, malloc's). So this is for what is started before anything else; `may_fork` looks.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Those that a child takes in its own way."""


def may_fork() -> bool:
    """Whether this process has but one thread, of libraries too. Elsewhere than on Linux that can't be told: False."""
    return sys.platform == "linux" and len(os.listdir("/proc/self/task")) == 1


class Child:
    """A child process that is known by its number, seen as `subprocess.Popen` shows one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, below 0 for a signal; None while it lives."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                self.returncode = 0  # as Popen: somebody else has asked, and its code is lost
            else:
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. subprocess.TimeoutExpired after `timeout` seconds."""
        if self.poll() is None:
            handle = os.pidfd_open(self.pid)
            try:
                select.select([handle], [], [], timeout)
            finally:
                os.close(handle)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return code

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class Forked(Child):
    """A child forked here."""

    def __init__(
        self, work: Callable[[], int], title: list[str], log: int, quiet: bool, kept: Sequence[int] = ()
    ) -> None:
        """Fork.

        Args:
            work: What the child does; gives its exit code.
            title: The arguments that `ps` shows of it.
            log: File descriptor that takes its standard output.
            quiet: Whether it takes standard error too.
            kept: File descriptors that stay open.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        gc.freeze()  # or the child's first collection would copy every page
        # until the child has its own handlers, or ours would swallow its SIGTERM
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        pid = os.fork()
        if pid == 0:
            live(work, title, {1: log, 2: log if quiet else 2} | {number: number for number in kept})
        gc.unfreeze()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        super().__init__(pid)


def live(work: Callable[[], int], title: list[str], files: Mapping[int, int]) -> NoReturn:
    """Be a forked child, from its first moment to its last: it never returns into the parent's code, nor runs its
    handlers.

    Args:
        work: What it does; gives its exit code.
        title: The arguments that `ps` shows of it.
        files: Its file descriptor -> which of the parent's that is. All others are closed; 0 to 2 are `/dev/null` where
            nothing is said of them.
    """
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        _take_over(files)
        _show(title)
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _take_over(files: Mapping[int, int]) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    wanted = dict.fromkeys(range(3), nothing) | dict(files)
    held = 1 + max(int(handle) for handle in os.listdir("/proc/self/fd"))
    above = 1 + max(held, *wanted)  # first out of the way: one's place may be where another still is
    copies = {number: fcntl.fcntl(source, fcntl.F_DUPFD, above) for number, source in wanted.items()}
    for number, copy in copies.items():
        os.dup2(copy, number)
    for number in range(1 + max(copies.values())):
        if number not in wanted:
            with suppress(OSError):
                os.close(number)


def _show(title: list[str]) -> None:
    """Have `ps` tell what this process is; as `pipeline.redact.hide_arguments`, it writes over the arguments."""
    with open("/proc/self/stat", "rb") as stat:
        fields = stat.read().rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end: fields 48 and 49 of proc(5)
    shown = b"".join(word.encode() + b"\0" for word in title)
    room = end - start - len(shown) - 1
    if start > 0 and room >= 0:
        first = os.fsencode(sys.executable)[:room].ljust(room)
        ctypes.memmove(start, first + b"\0" + shown, end - start)
