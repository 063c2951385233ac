"""How the system schedules this process's threads, kept as it is where an encoder would change it.

SVT-AV1 (4.1) gives its threads and the one that opens it the highest real-time priority (SCHED_FIFO, 99) where it may,
as root or with CAP_SYS_NICE. They are then run before everything else on the machine, for as long as they live, and so
is all that is started from there: with two cores even the system's own work can wait for ever.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def kept() -> Iterator[None]:
    """Around the opening of an encoder: afterwards no thread has real-time priority that it had not before.

    New threads are scheduled as the one that opens it. Linux alone; elsewhere nothing is done.
    """
    if sys.platform != "linux":
        yield
        return
    before = {thread: _scheduling(thread) for thread in _threads()}
    mine = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread in _threads():
            was, now = before.get(thread) or mine, _scheduling(thread)
            if now and now[0] in (os.SCHED_FIFO, os.SCHED_RR) and now[0] != was[0]:
                with suppress(OSError):  # it has ended
                    os.sched_setscheduler(thread, *was)


def _threads() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/task")]


def _scheduling(thread: int) -> tuple[int, os.sched_param] | None:
    """Policy and priority; None for a thread that has ended."""
    try:
        return os.sched_getscheduler(thread), os.sched_getparam(thread)
    except OSError:
        return None
