"""Lets others go first: a network that runs takes all of the core that it gets, and what is starting waits for it."""

from __future__ import annotations

import os
from contextlib import suppress

STEP = 5
"""By how much a running network lowers its priority (nice(2)): on a core that others want too, Linux gives it a third
of what each of those gets. With more, any other program on the machine would take nearly all."""


def step_back() -> None:
    """Lower the priority of this process by `STEP`, for good: only a privileged one could raise it again.

    Linux has a priority for each thread, and nice(2) changes the caller's alone; a runtime's own threads do the work.
    """
    lowest = os.getpriority(os.PRIO_PROCESS, 0) + STEP
    try:
        threads = [int(name) for name in os.listdir("/proc/self/task")]
    except OSError:  # elsewhere than on Linux it is the process that has one
        threads = [0]
    for thread in threads:
        with suppress(OSError):  # it has just ended
            os.setpriority(os.PRIO_PROCESS, thread, lowest)
