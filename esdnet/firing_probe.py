"""How lively a stream's neurons are, sampled: the firing rate on a patch of the picture, once in a while.

Compiled runtimes don't show the spikes inside. So the same network is run beside them, eager, on a patch from the
middle of the picture over a few frames in a row.
"""

from __future__ import annotations

import time
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
from esdnet.state import MembraneState
from esdnet.streaming import StreamNet

PATCH = (96, 160)
"""Rows and columns of the patch; a smaller picture is taken whole."""
FRAMES = 3
"""Frames in a row that are shown, from empty membranes; spikes are counted in the last."""


class FiringProbe:
    """Shown every frame of a stream, it looks at a few of them.

    Args:
        model: As `Derainer` takes it.
        every: Seconds between two samples.

    Raises:
        ModelError: The model is no streaming network.
    """

    def __init__(self, model: str, every: float = 1.0) -> None:
        network = load(model)
        if not isinstance(network, StreamNet):
            raise ModelError(f"{model}: only streaming networks have a firing rate from frame to frame")
        self.rate: float | None = None
        """Share of the neurons that fired in the last sample, 0..1; None before the first."""
        self._network = fold_batch_norm(network).eval()
        self._every = every
        self._due = 0.0
        self._shown = 0
        self._state: tuple[torch.Tensor, ...] = ()
        self._step: PlaneStep | None = None
        self._kind: tuple[int, int, bool] | None = None

    @torch.inference_mode()
    def show(self, planes: Sequence[NDArray[np.uint8]], full_range: bool) -> bool:
        """The next frame: Y (H, W), and U and V of half that size, or Y alone. Returns whether `rate` is new."""
        if not self._shown and time.monotonic() < self._due:
            return False
        patch = _patch(planes)
        kind = (*patch[0].shape, full_range)
        if self._step is None or kind != self._kind or not self._shown:
            self._step, self._kind, self._shown = self._made(*kind), kind, 0
        tensors = [torch.from_numpy(np.ascontiguousarray(plane))[None, None] for plane in patch]
        self._shown += 1
        if self._shown < FRAMES:
            self._state = self._step(*tensors, *self._state)[3:]
            return False
        with firing_rates(self._network) as rates:
            self._step(*tensors, *self._state)
        self.rate = sum(float(r._firing) for r in rates.values()) / sum(r._elements for r in rates.values())
        self._shown, self._due = 0, time.monotonic() + self._every
        return True

    def _made(self, height: int, width: int, full_range: bool) -> PlaneStep:
        state: MembraneState = self._network.initial_state(1, *packed_size(height, width))
        self._state = state.tensors()
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
