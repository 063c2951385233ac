"""The protocol every runtime follows."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from esdnet.state import MembraneState


class Runtime(Protocol):
    """Carries out the steps of one network. Every runtime is tested against `eager` over many frames."""

    name: str

    def initial_state(self, streams: int, height: int, width: int) -> MembraneState:
        """Zero membranes for `streams` streams of packed size `height` × `width`."""
        ...

    def step(self, frame: Tensor, state: MembraneState) -> tuple[Tensor, MembraneState]:
        """One frame of each stream, normalised packed YUV 4:2:0 (N, 6, H/2, W/2) float32, as `StreamNet.step`."""
        ...
