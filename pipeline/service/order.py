"""Turns a stream of the configuration into the order that its process gets, and looks whether that could be meant."""

from __future__ import annotations

import os
from collections.abc import Iterable

import msgspec

from pipeline.errors import DerainError
from pipeline.live_status import LiveOrder, write_order
from pipeline.redact import scrub
from pipeline.service.config import StreamConfig

_OURS = frozenset({"title", "autostart", "preview"})
"""Settings that mean something to the service alone."""


def make_order(config: StreamConfig, *, status: str, preview: str) -> bytes:
    """The order, as JSON; all other settings have the same names on both sides.

    Args:
        config: The stream.
        status: Address that the process reports to.
        preview: Address that it binds its pictures to; "": none.
    """
    return write_order(msgspec.structs.replace(order_of(config), parent=os.getpid(), status=status, preview=preview))


def order_of(config: StreamConfig) -> LiveOrder:
    """What the stream is to do, wherever it reports to."""
    return LiveOrder(**config.model_dump(exclude=set(_OURS)))


def check_streams(streams: Iterable[StreamConfig]) -> None:
    """Look for all that the processes of these streams would refuse.

    Reads folders and loads PyAV: not for an event loop.

    Raises:
        DerainError: What is wrong with any of them, in one line, without secrets.
    """
    from pipeline.live.check import check_order, resolve

    wrong = []
    for stream in streams:
        order = order_of(stream)
        try:
            order = resolve(order)
            check_order(order)
        except DerainError as error:
            wrong.append(f"{stream.id}: {scrub(str(error), [order.source, *order.destinations])}")
    if wrong:
        raise DerainError("; ".join(wrong))
