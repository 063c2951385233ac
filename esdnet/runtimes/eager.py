"""PyTorch as it is, batch norm folded, channels last: the reference that every other runtime is compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from esdnet.fold import fold_batch_norm
from esdnet.state import MembraneState
from esdnet.streaming import StreamNet


class EagerRuntime:
    """Runs on the CPU; `threads` sets PyTorch's intra-op threads for the whole process, None leaves them."""

    name = "eager"

    def __init__(self, network: StreamNet, *, threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._network = fold_batch_norm(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def initial_state(self, streams: int, height: int, width: int) -> MembraneState:
        state: MembraneState = self._network.initial_state(streams, height, width)
        return state

    @torch.inference_mode()
    def step(self, frame: Tensor, state: MembraneState) -> tuple[Tensor, MembraneState]:
        # A state may come from a runtime that keeps it on a GPU or in half precision; here nothing is copied otherwise.
        here = state.with_tensors([tensor.to("cpu", torch.float32) for tensor in state.tensors()])
        result: tuple[Tensor, MembraneState] = self._network.step(
            frame.contiguous(memory_format=torch.channels_last), here
        )
        return result
