"""The protocol every runtime follows, and what one may offer beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from esdnet.errors import ModelError
from esdnet.state import MembraneState

Plane = NDArray[np.uint8]


class RuntimeMissing(ModelError):
    """This machine lacks what a runtime needs. `advice` is what to install where that alone would help, else empty."""

    def __init__(self, text: str, advice: str = "") -> None:
        super().__init__(f"{text}: {advice}" if advice else text)
        self.advice = advice


class Runtime(Protocol):
    """Carries out the steps of one network. Every runtime is tested against `eager` over many frames.

    One thread at a time may use it. `step` is pure: it changes neither the frame nor the state it is given, and what it
    returns is never written to again.
    """

    name: str

    def initial_state(self, streams: int, height: int, width: int) -> MembraneState:
        """Zero membranes for `streams` streams of packed size `height` × `width`."""
        ...

    def step(self, frame: Tensor, state: MembraneState) -> tuple[Tensor, MembraneState]:
        """One frame of each stream, normalised packed YUV 4:2:0 (N, 6, H/2, W/2) float32, as `StreamNet.step`."""
        ...


class PlaneStream(Protocol):
    """One stream of 8-bit YUV 4:2:0 pictures of one size, whose membranes stay inside the runtime."""

    def step(self, planes: Sequence[Plane]) -> list[Plane]:
        """Y (H, W), U and V ((H+1)//2, (W+1)//2) → the derained ones, in memory of their own."""
        ...

    def take_state(self) -> MembraneState:
        """A copy of the membranes after the last step."""
        ...

    def put_state(self, state: MembraneState) -> None:
        """Go on from these membranes (copied)."""
        ...


@runtime_checkable
class PlaneRuntime(Protocol):
    """A runtime with a quicker way for 8-bit planes: packing and rounding are part of what it compiled."""

    def open_stream(self, height: int, width: int, *, full_range: bool) -> PlaneStream:
        """A stream of pictures of `height` × `width` (not padded) that begins with zero membranes."""
        ...
