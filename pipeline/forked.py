"""Processes forked from this one, which need not start an interpreter and import the libraries again.

Only a process with a single thread may be forked: locks that another thread holds stay locked in the child for ever
(OpenMP's, TBB's, ZeroMQ's, malloc's). So this is for what is started before anything else; `may_fork` looks.
"""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable


def may_fork() -> bool:
    """Whether this process has but one thread, of libraries too. Elsewhere than on Linux that can't be told: False."""
    return sys.platform == "linux" and len(os.listdir("/proc/self/task")) == 1


class Forked:
    """A forked child, seen as `subprocess.Popen` shows one."""

    def __init__(self, work: Callable[[], int], title: list[str], log: int, quiet: bool) -> None:
        """Fork.

        Args:
            work: What the child does; gives its exit code.
            title: The arguments that `ps` shows of it.
            log: File descriptor that takes its standard output.
            quiet: Whether it takes standard error too.
        """
        self.returncode: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        gc.freeze()  # or the child's first collection would copy every page
        # until the child has its own handlers, or ours would swallow its SIGTERM
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
        self.pid = os.fork()
        if self.pid == 0:
            _live(work, title, log, quiet)
        gc.unfreeze()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

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

    def wait(self, timeout: float) -> int:
        """Its exit code. subprocess.TimeoutExpired after `timeout` seconds."""
        if self.poll() is None:
            handle = os.pidfd_open(self.pid)
            try:
                select.select([handle], [], [], timeout)
            finally:
                os.close(handle)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return code

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _live(work: Callable[[], int], title: list[str], log: int, quiet: bool) -> None:
    """The child, from its first moment to its last: it never returns into the parent's code, nor runs its handlers."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        if quiet:
            os.dup2(log, 2)
        os.closerange(3, 1 + max(int(handle) for handle in os.listdir("/proc/self/fd")))
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
