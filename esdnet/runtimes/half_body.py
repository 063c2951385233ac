"""Half precision where it is safe: the body of a streaming network, from the stem to the head.

Spikes are whole numbers up to the number of levels and exact in float16. What float16 would spoil stays in float32: the
picture (a quarter of an 8-bit step is lost at 1.0), its difference from the past times a gain, the grid of the warp (a
fifth of a pixel at a width of 960), the read-out's potential and its age. The casts stand at the two borders, so the
exported graph has them and a strongly typed engine keeps them (Torch-TensorRT's `enabled_precisions` is ignored there).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from esdnet.fold import fold_batch_norm
from esdnet.state import MembraneState
from esdnet.streaming import StreamNet

PRECISIONS: dict[str, torch.dtype] = {"fp16": torch.float16, "fp32": torch.float32}


class _Border(nn.Module):
    """A layer between two dtypes: what goes in is brought to `before`, what comes out to `after`."""

    def __init__(self, layer: nn.Module, before: torch.dtype, after: torch.dtype) -> None:
        super().__init__()
        self.layer, self.before, self.after = layer, before, after
        self.weight = layer.weight

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.to(self.before))
        return y.to(self.after)


def with_body(network: StreamNet, dtype: torch.dtype) -> StreamNet:
    """A copy for inference, batch norm folded, whose body computes in `dtype`; frames go in and come out as float32."""
    folded: StreamNet = fold_batch_norm(network).float().requires_grad_(False)
    if dtype == torch.float32:
        return folded
    folded.to(dtype)
    borders: dict[str, nn.Module] = {
        "stem": _Border(folded.stem, dtype, dtype),
        "head": _Border(folded.head, dtype, torch.float32),
    }
    for name, border in borders.items():
        setattr(folded, name, border)
    return folded


def initial_state(network: StreamNet, streams: int, height: int, width: int, *,
                  device: torch.device | str | None = None) -> MembraneState:  # fmt: skip
    """Zeros in the dtypes that a network of `with_body` takes and returns: membranes of its layers in the body's, the
    read-out's in float32."""
    body = next(parameter.dtype for parameter in network.parameters())
    layers = {name for name, _ in network.named_modules()}
    zeros = network.initial_state(streams, height, width, device=device, dtype=torch.float32)
    return MembraneState({name: zeros[name].to(body) if name in layers else zeros[name] for name in zeros})
