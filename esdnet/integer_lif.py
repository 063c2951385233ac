"""Leaky integrate-and-fire neurons that fire an integer number of spikes a step, with learnt leak and threshold.

One step of one neuron with membrane potential v, input current x, leak β, threshold θ and at most D spikes:

    h  = β·v + x                       charge
    s  = clamp(round(h / θ), 0, D)     fire: an integer, sent as s binary spikes on spiking hardware
    v' = h − s·θ                       soft reset (by subtraction)

Sources: integers while training, binary spikes on hardware: SpikeYOLO (Luo et al., ECCV 2024); learnt leak: parametric
LIF (Fang et al., ICCV 2021); soft reset: Rueckauer et al. (Frontiers in Neuroscience, 2017).
The membrane is an argument and a result, never a buffer: the network's step is a pure function.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class _IntegerSpike(torch.autograd.Function):
    """round and clamp to 0..D forwards; backwards the rectangle surrogate: 1 where the neuron could fire, else 0."""

    @staticmethod
    def forward(ctx: Any, drive: Tensor, levels: int) -> Tensor:
        ctx.save_for_backward((drive > -0.5) & (drive < levels + 0.5))
        return torch.clamp(torch.round(drive), 0, levels)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return grads[0] * inside, None


def integer_spikes(drive: Tensor, levels: int) -> Tensor:
    """Number of spikes for `drive` = potential / threshold; same shape and dtype, whole numbers in 0..levels."""
    if torch.is_grad_enabled() and drive.requires_grad:
        spikes: Tensor = _IntegerSpike.apply(drive, levels)  # type: ignore[no-untyped-call]
        return spikes
    return torch.clamp(torch.round(drive), 0, levels)


class IntegerLIF(nn.Module):
    """One step of integer LIF neurons, leak and threshold learnt a channel.

    ``forward(current, potential, trust)`` takes (N, C, H, W), the potential of the same shape, or None for a neuron
    whose membrane is not carried, and how much of the potential is kept at a place, (N, 1, H, W) in 0..1, None for all
    of it; it returns (spikes, new potential or None). Leak β = σ(leak_logit) in 0..1; threshold θ = exp(log_threshold)
    > 0.
    """

    is_spiking = True

    def __init__(self, channels: int, *, levels: int, carried: bool, leak: float = 0.25,
                 threshold: float = 1.0) -> None:  # fmt: skip
        super().__init__()
        self.levels = levels
        self.carried = carried
        self.channels = channels
        self.log_threshold = nn.Parameter(torch.full((1, channels, 1, 1), math.log(threshold)))
        if carried:
            self.leak_logit = nn.Parameter(torch.full((1, channels, 1, 1), math.log(leak / (1 - leak))))

    def forward(
        self, current: Tensor, potential: Tensor | None, trust: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        charge = current
        if self.carried and potential is not None:
            if trust is not None:
                potential = potential * trust.to(potential.dtype)
            charge = torch.addcmul(current, torch.sigmoid(self.leak_logit), potential)
        spikes = integer_spikes(charge * torch.exp(-self.log_threshold), self.levels)
        if not self.carried:
            return spikes, None
        return spikes, charge - spikes * torch.exp(self.log_threshold)

    def extra_repr(self) -> str:
        return f"{self.channels}, levels={self.levels}, carried={self.carried}"
