"""Runtimes: how a streaming network's step is carried out. One file each, one small protocol.

`auto` takes the best one that works here; a runtime asked for by name that cannot run is an error, never a fallback.
"""

from __future__ import annotations

import logging

from esdnet.errors import ModelError
from esdnet.runtimes.runtime import Runtime
from esdnet.streaming import StreamNet

NAMES = ("auto", "eager")
_log = logging.getLogger(__name__)


def open_runtime(name: str, network: StreamNet, *, threads: int | None = None) -> Runtime:
    """The runtime called `name` for `network`. ModelError where there is no such runtime."""
    from esdnet.runtimes.eager import EagerRuntime

    if name not in NAMES:
        raise ModelError(f"unknown runtime {name!r}; this version has: {', '.join(NAMES)}")
    runtime = EagerRuntime(network, threads=threads)
    _log.info("runtime %s: took %s", name, runtime.name)
    return runtime


__all__ = ["NAMES", "Runtime", "open_runtime"]
