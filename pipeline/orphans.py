"""Processes that must not outlive the one they work for, and those who take over what a dead one leaves behind."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from pipeline.private_folder import remove

GRACE = 5.0
"""Seconds that a process without a parent has to end by itself."""
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Have Linux make the children of our children ours when those die, so that they can be waited for."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def signal_when_orphaned(number: int = signal.SIGTERM) -> None:
    """Have Linux send us this signal at once when our parent dies, however it dies. Nothing elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def end_with_parent(
    parent: int, folder: str, notice: Callable[[], None] = lambda: None, number: int = signal.SIGTERM
) -> None:
    """Get a signal when the parent dies; a process that hangs then, where it can't look, is ended the hard way.

    Args:
        parent: Process number of the one that we work for. It may be dead already.
        folder: Where its sockets are: removed with us.
        notice: Called once, in a thread, when the parent is found to be gone.
        number: The signal.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        notice()
        time.sleep(GRACE)
        remove(folder)
        os._exit(1)

    signal_when_orphaned(number)
    threading.Thread(target=watch, daemon=True).start()


def is_gone(parent: int) -> bool:
    """Whether our parent is dead, or its first thread is and others are not yet: then we have been told, but are still
    its children."""
    if os.getppid() != parent:
        return True
    try:
        with open(f"/proc/{parent}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return False
