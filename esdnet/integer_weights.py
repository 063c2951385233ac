"""Weights of spiking convolutions as 8-bit integers times one scale an output channel.

Spikes are whole numbers, so a convolution of spikes with whole numbers is integer arithmetic, which processors with
VNNI do at twice bfloat16's rate and four times float32's, and exactly. Weights that lie on such a grid need no second
file and no calibration: they are ordinary float32 weights, every runtime computes the same with them, and one that can
multiply integers sees that it may. Symmetric, one scale an output channel, as Krishnamoorthi ("Quantizing deep
convolutional networks for efficient inference", arXiv 1806.08342, section 3.1) finds enough for weights.
What it costs in quality and gains in speed: docs/experiments/neurons.md, docs/benchmarks.md.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from esdnet.stream_blocks import SpikeConv

LARGEST = 127
"""The integers are -LARGEST..LARGEST, so that a sum's sign may be turned without one being left over."""
_OFF_GRID = 1e-3
"""How far from a whole number a weight may be: folding a batch norm in float32 moves it by a hundredth of that."""


@torch.no_grad()
def round_weights(network: nn.Module) -> None:
    """Moves the weights of all spiking convolutions in `network` to the nearest point of their channel's grid."""
    for module in network.modules():
        if isinstance(module, SpikeConv):
            weight = module.conv.weight
            scale = _scale(weight)
            weight.copy_(torch.round(weight / scale) * scale)


@torch.no_grad()
def integers_of(weight: Tensor) -> tuple[Tensor, Tensor] | None:
    """Integers (float, shape of `weight`) and scales (out,) whose product `weight` (out, in, kh, kw) is; None where it
    lies on no such grid."""
    scale = _scale(weight)
    steps = weight / scale
    integers = torch.round(steps)
    if not bool((steps - integers).abs().amax() <= _OFF_GRID):  # also where a weight is no number
        return None
    return integers, scale.flatten()


def _scale(weight: Tensor) -> Tensor:
    """(out, 1, 1, 1): the largest weight of a channel is LARGEST steps; 1 where all are 0."""
    largest = weight.abs().amax(dim=(1, 2, 3), keepdim=True)
    return torch.where(largest > 0, largest / LARGEST, torch.ones_like(largest))
