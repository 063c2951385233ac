"""Runtimes: how a streaming network's step is carried out. One file each, one small protocol.

`auto` takes the best one that works here, and says in `Choice.note` where a package that is not installed would have
made it quicker; a runtime asked for by name that cannot run is an error, never a fallback.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib import import_module

from esdnet.errors import ModelError
from esdnet.runtimes import heap
from esdnet.runtimes.runtime import PlaneRuntime, PlaneStream, Runtime, RuntimeMissing
from esdnet.streaming import StreamNet

RUNTIMES: dict[str, tuple[str, str]] = {
    "tensorrt": ("esdnet.runtimes.tensorrt", "TensorrtRuntime"),
    "cuda_graph": ("esdnet.runtimes.cuda_graph", "CudaGraphRuntime"),
    "openvino_bf16": ("esdnet.runtimes.openvino_bf16", "OpenvinoBf16Runtime"),
    "openvino": ("esdnet.runtimes.openvino", "OpenvinoRuntime"),
    "eager": ("esdnet.runtimes.eager", "EagerRuntime"),
}
"""Name -> (module, class), the best first. The class takes ``(network, *, threads=None)`` and raises `RuntimeMissing`
where this machine lacks what it needs; its module imports nothing that may be missing."""

NAMES = ("auto", *RUNTIMES)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """A runtime, and what its user should know about the choice: one line, or empty."""

    runtime: Runtime
    note: str = ""


def open_runtime(name: str, network: StreamNet, *, threads: int | None = None) -> Runtime:
    """The runtime called `name` for `network`. ModelError where there is none or it cannot run here."""
    return choose_runtime(name, network, threads=threads).runtime


def choose_runtime(name: str, network: StreamNet, *, threads: int | None = None) -> Choice:
    """As `open_runtime`, with a note."""
    if name not in NAMES:
        raise ModelError(f"unknown runtime {name!r}; this version has: {', '.join(NAMES)}")
    heap.keep()
    passed_over: list[str] = []
    for candidate in RUNTIMES if name == "auto" else (name,):
        module, runtime_class = RUNTIMES[candidate]
        try:
            runtime: Runtime = getattr(import_module(module), runtime_class)(network, threads=threads)
        except RuntimeMissing as missing:
            if name != "auto":
                raise
            _log.info("runtime auto: passed over %s: %s", candidate, missing)
            if missing.advice:
                passed_over.append(str(missing))
            continue
        _log.info("runtime %s: took %s", name, runtime.name)
        return Choice(runtime, f"runs on {runtime.name}, the slower way; {passed_over[0]}" if passed_over else "")
    raise ModelError("no runtime works here")  # eager needs nothing but PyTorch, so that is a bug


__all__ = [
    "NAMES", "RUNTIMES", "Choice", "PlaneRuntime", "PlaneStream", "Runtime", "RuntimeMissing", "choose_runtime",
    "open_runtime",
]  # fmt: skip
