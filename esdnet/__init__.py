"""The spiking deraining networks and their state. Knows tensors; knows nothing of video files, sockets or jobs.

from esdnet import Derainer
derainer = Derainer("stream")
dry = derainer(rainy)            # one frame after the other of one stream
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esdnet.derainer import Derainer
    from esdnet.models import load
    from esdnet.state import MembraneState

__all__ = ["Derainer", "MembraneState", "load"]

_HOMES = {"Derainer": "esdnet.derainer", "load": "esdnet.models", "MembraneState": "esdnet.state"}


def __getattr__(name: str) -> Any:
    """Imports torch only when something that needs it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'esdnet' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
