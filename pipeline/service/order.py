"""Turns a stream of the configuration into the order that its process gets."""

from __future__ import annotations

import os

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
    return write_order(
        LiveOrder(parent=os.getpid(), status=status, preview=preview, **config.model_dump(exclude=set(_OURS)))
    )
