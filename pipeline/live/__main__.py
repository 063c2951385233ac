"""`python -m pipeline.live`: one live stream, ordered on standard input, as `derain serve` runs it.

The contract is in `pipeline.live_status`. Exit codes: 0 stopped as asked or at its end, 1 failed, 2 an order that can't
be meant.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import zmq

from pipeline.errors import DerainError, UsageError
from pipeline.live.check import check_order, resolve
from pipeline.live.nursery import Nursery
from pipeline.live.session import LiveSession
from pipeline.live_status import LiveOrder, LiveStatus, pack_status, read_order
from pipeline.orphans import signal_when_orphaned
from pipeline.redact import redact, scrub


class _Reporter:
    """Pushes statuses to whoever ordered the stream; drops them where nobody takes them."""

    def __init__(self, order: LiveOrder) -> None:
        self._socket: zmq.Socket[bytes] | None = None
        if order.status:
            self._socket = zmq.Context.instance().socket(zmq.PUSH)
            self._socket.setsockopt(zmq.LINGER, 500)
            self._socket.setsockopt(zmq.SNDHWM, 16)
            self._socket.connect(order.status)

    def tell(self, status: LiveStatus) -> None:
        if self._socket is not None:
            try:
                self._socket.send(pack_status(status), zmq.NOBLOCK)
            except zmq.Again:
                return


def main() -> int:
    """Run the stream that is ordered on standard input."""
    return born("", sys.stdin.buffer.read())


def born(_: str, data: bytes) -> int:
    """Run the stream; whatever goes wrong is in the last status, and one line on stderr. Returns the exit code.

    Args:
        data: A `LiveOrder` as JSON.
    """
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal_when_orphaned()
    try:
        order = read_order(data)
    except DerainError as error:
        print(f"derain: {error}", file=sys.stderr)
        return 2
    parent = order.parent or os.getppid()
    with Nursery() as nursery:  # before there are threads: then it is forked
        return _run(order, nursery, lambda: asked.is_set() or os.getppid() != parent)


def _run(order: LiveOrder, nursery: Nursery, stop: Callable[[], bool]) -> int:
    reporter = _Reporter(order)
    reporter.tell(
        LiveStatus(id=order.id, state="starting", pid=os.getpid(), at=time.time(), source=redact(order.source))
    )
    try:
        order = resolve(order)
        check_order(order)
    except DerainError as error:
        return _refused(order, reporter, error)
    try:
        LiveSession(order, nursery, reporter.tell).run(stop)
        return 0
    except DerainError as error:
        print(f"derain: {scrub(str(error), [order.source, *order.destinations])}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    finally:
        zmq.Context.instance().destroy(linger=500)


def _refused(order: LiveOrder, reporter: _Reporter, error: DerainError) -> int:
    text = scrub(str(error), [order.source, *order.destinations])
    reporter.tell(
        LiveStatus(
            id=order.id, state="failed", pid=os.getpid(), at=time.time(), source=redact(order.source), error=text
        )
    )
    zmq.Context.instance().destroy(linger=500)
    print(f"derain: {text}", file=sys.stderr)
    return 2 if isinstance(error, UsageError) else 1


if __name__ == "__main__":
    sys.exit(main())
