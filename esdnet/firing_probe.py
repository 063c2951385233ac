"""How lively a stream's neurons are, sampled: the firing rate on a patch of the picture, once in a while.

Compiled runtimes don't show the spikes inside. So the same network is run beside them, eager, on a patch from the
middle of the picture over a few frames in a row. They are kept, and the network is shown them later, one at a time, so
that no frame of the stream waits for more than one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from esdnet.errors import ModelError
from esdnet.firing import firing_rates
from esdnet.fold import fold_batch_norm
from esdnet.models import load
from esdnet.plane_step import PlaneStep, packed_size
from esdnet.planes import FULL, LIMITED
from esdnet.streaming import StreamNet

PATCH = (96, 160)
"""Rows and columns of the patch; a smaller picture is taken whole."""
FRAMES = 3
"""Frames in a row that are shown, from empty membranes; spikes are counted in the last."""


class FiringProbe:
    """Shown every frame of a stream, it keeps a few of them, and looks at one of those at each `step`.

    Args:
        model: As `Derainer` takes it.
        every: Seconds between two samples.
        apart: Seconds between two steps of one, at least.

    Raises:
        ModelError: The model is no streaming network.
    """

    def __init__(self, model: str, every: float = 1.0, apart: float = 0.1) -> None:
        network = load(model)
        if not isinstance(network, StreamNet):
            raise ModelError(f"{model}: only streaming networks have a firing rate from frame to frame")
        self.rate: float | None = None
        """Share of the neurons that fired in the last sample, 0..1; None before the first."""
        self._network = fold_batch_norm(network).eval()
        self._every, self._apart = every, apart
        self._due = 0.0
        self._kept: deque[list[NDArray[np.uint8]]] = deque()
        self._looking = False  # whether a sample is whole, and its frames are being looked at
        self._state: tuple[torch.Tensor, ...] = ()
        self._step: PlaneStep | None = None
        self._kind: tuple[int, int, bool] | None = None

    def show(self, planes: Sequence[NDArray[np.uint8]], full_range: bool) -> None:
        """The next frame: Y (H, W), and U and V of half that size, or Y alone."""
        if self._looking or (not self._kept and time.monotonic() < self._due):
            return
        patch = _patch(planes)
        kind = (*patch[0].shape, full_range)
        if kind != self._kind:
            self._step, self._kind = self._made(*kind), kind
            self._kept.clear()
        self._kept.append([plane.copy() for plane in patch])
        if len(self._kept) == FRAMES:
            self._looking, self._due = True, 0.0
            self._state = self._network.initial_state(1, *packed_size(*patch[0].shape)).tensors()

    @torch.inference_mode()
    def step(self) -> bool:
        """Look at a frame, if one is due. Returns whether `rate` is new."""
        if not self._looking or time.monotonic() < self._due:
            return False
        assert self._step is not None
        tensors = [torch.from_numpy(plane)[None, None] for plane in self._kept.popleft()]
        if self._kept:
            self._state = self._step(*tensors, *self._state)[3:]
            self._due = time.monotonic() + self._apart
            return False
        with firing_rates(self._network) as rates:
            self._step(*tensors, *self._state)
        self.rate = sum(float(r._firing) for r in rates.values()) / sum(r._elements for r in rates.values())
        self._looking, self._due = False, time.monotonic() + self._every
        return True

    def _made(self, height: int, width: int, full_range: bool) -> PlaneStep:
        return PlaneStep(self._network, height, width, FULL if full_range else LIMITED).eval()


def _patch(planes: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """From the middle, beginning at even places so that chroma fits; chroma of a grey picture is neutral."""
    height, width = planes[0].shape
    rows, columns = min(PATCH[0], height), min(PATCH[1], width)
    top, left = (height - rows) // 4 * 2, (width - columns) // 4 * 2
    luma = planes[0][top : top + rows, left : left + columns]
    half = ((rows + 1) // 2, (columns + 1) // 2)
    if len(planes) < 3:
        return [luma, *(np.full(half, 128, np.uint8) for _ in range(2))]
    return [
        luma, *(plane[top // 2 : top // 2 + half[0], left // 2 : left // 2 + half[1]] for plane in planes[1:3])
    ]  # fmt: skip
