"""A training run that is asked to stop (Ctrl-C, SIGTERM, a closed terminal) ends after the step under way.

Batch systems send SIGTERM before they take a machine away, and `torchrun` passes it on; to whole process groups both it
and Ctrl-C go, so loader processes do not heed them: they end with the process that trains.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE = 30
"""Seconds after SIGTERM in which the run has ended, and a loader process with it; else that ends by itself."""


@contextmanager
def heeding() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether one of `SIGNALS` has come. A second Ctrl-C is a KeyboardInterrupt as ever.

    Those that are ignored, as nohup does with SIGHUP, stay so, and so do all of them outside the main thread.
    """
    came: list[int] = []

    def take(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in came:
            raise KeyboardInterrupt("ended at once, as asked twice")
        came.append(number)

    here = threading.current_thread() is threading.main_thread()
    heeded = [number for number in SIGNALS if here and signal.getsignal(number) is not signal.SIG_IGN]
    before = [signal.signal(number, take) for number in heeded]
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in zip(heeded, before, strict=True):
            signal.signal(number, handler)


def unheeding(_worker: int) -> None:
    """For a loader process: signals meant for the process that trains do not end it while that finishes its step."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: signal.alarm(GRACE))
