"""Turns a stream of the configuration into the order that its process gets."""

from __future__ import annotations

import os

import msgspec

from pipeline.live_status import LiveOrder, write_order
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
