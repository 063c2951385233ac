"""Leaky integrate-and-fire neurons and the surrogate gradients that make them trainable.

The step is a pure function, membrane potential in and out: `lif_step`. `LIF` is the multi-step module that the paper's
network is made of; it starts every call at potential 0 and keeps nothing.

A spike is the Heaviside step of (potential - threshold), whose derivative is 0 almost everywhere. In the backward pass
it is replaced by the derivative of a smooth curve, the surrogate (Neftci, Mostafa and Zenke, "Surrogate Gradient
Learning in Spiking Neural Networks", IEEE Signal Processing Magazine 2019). The forward pass is not touched by it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from esdnet.errors import ModelError

Surrogate = Callable[[Tensor], Tensor]
"""From (potential - threshold) to spikes 0 or 1 of the same shape and dtype, with a gradient."""


class _Heaviside(torch.autograd.Function):
    """1 where x >= 0, else 0; the gradient is `derivative(x)`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, derivative: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.derivative = derivative
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grad_outputs[0] * ctx.derivative(x), None


def _spike(x: Tensor, derivative: Callable[[Tensor], Tensor]) -> Tensor:
    # Without a gradient to compute, a plain comparison: exporters and compilers then see no custom function.
    if torch.is_grad_enabled() and x.requires_grad:
        spikes: Tensor = _Heaviside.apply(x, derivative)  # type: ignore[no-untyped-call]
        return spikes
    return (x >= 0).to(x.dtype)


def sigmoid_spike(x: Tensor, alpha: float = 4.0) -> Tensor:
    """Spikes whose surrogate is the logistic curve: derivative alpha * s * (1 - s), s = sigmoid(alpha * x).

    With alpha = 4 (peak 1 at the threshold) this is what ESDNet was trained with: SpikingJelly's default (Fang et al.,
    Science Advances 2023).
    """

    def derivative(x: Tensor) -> Tensor:
        s = torch.sigmoid(alpha * x)
        return alpha * s * (1 - s)

    return _spike(x, derivative)


def atan_spike(x: Tensor, alpha: float = 2.0) -> Tensor:
    """Spikes whose surrogate is an arc tangent: derivative (alpha / 2) / (1 + (pi * alpha * x / 2)^2).

    Heavier tails than the sigmoid, so neurons far from the threshold still learn (Fang et al., "Incorporating Learnable
    Membrane Time Constant to Enhance Learning of Spiking Neural Networks", ICCV 2021).
    """
    return _spike(x, lambda x: (alpha / 2) / (1 + (math.pi / 2 * alpha * x).square()))


def rectangle_spike(x: Tensor, width: float = 1.0) -> Tensor:
    """Spikes whose surrogate is a ramp: derivative 1 / width where |x| < width / 2, else 0.

    Cheap, and exactly 0 away from the threshold (Wu et al., "Spatio-Temporal Backpropagation for Training
    High-Performance Spiking Neural Networks", Frontiers in Neuroscience 2018).
    """
    return _spike(x, lambda x: (x.abs() < width / 2).to(x.dtype) / width)


SURROGATES: dict[str, Surrogate] = {"sigmoid": sigmoid_spike, "atan": atan_spike, "rectangle": rectangle_spike}
"""The surrogates by name, at their default sharpness."""


def spike_function(name: str) -> Surrogate:
    """The spike function with the surrogate of that name. ModelError for an unknown one."""
    try:
        return SURROGATES[name]
    except KeyError:
        raise ModelError(f"unknown surrogate gradient {name!r}: choose one of {', '.join(SURROGATES)}") from None


def lif_step(
    current: Tensor,
    potential: Tensor,
    *,
    tau: float | Tensor = 2.0,
    v_threshold: float | Tensor = 0.15,
    spike: Surrogate = sigmoid_spike,
    detach_reset: bool = False,
) -> tuple[Tensor, Tensor]:
    """One time step of leaky integrate-and-fire neurons with a hard reset to 0; the input is not decayed.

        h = potential * (1 - 1 / tau) + current
        spikes = 1 where h >= v_threshold, else 0
        potential' = 0 where it spiked, else h

    `current` and `potential` have one shape (any) and a floating dtype; `tau` (in steps, > 1) and `v_threshold` are
    numbers, or tensors that broadcast against them and may be learnt (the parametric LIF of Fang et al., ICCV 2021).
    With `detach_reset` no gradient flows back through the reset (Zenke and Vogels, Neural Computation 2021).
    Returns (spikes, new potential), in the shape and dtype of `current`.
    """
    h = potential * (1 - 1 / tau) + current
    spikes = spike(h - v_threshold)
    kept = 1 - (spikes.detach() if detach_reset else spikes)
    return spikes, h * kept


class LIF(nn.Module):
    """A layer of LIF neurons over all time steps at once: currents (T, ...) to spikes (T, ...), floating dtype.

    Every call begins at potential 0: nothing is kept between calls, so nothing has to be reset. `surrogate` is one of
    `SURROGATES`; ModelError for another one, for tau <= 1 and for a threshold that is not positive.
    """

    is_spiking: ClassVar[bool] = True  # `firing.firing_rates` counts the spikes of modules that say so

    def __init__(
        self, v_threshold: float = 0.15, tau: float = 2.0, surrogate: str = "sigmoid", detach_reset: bool = False
    ) -> None:
        super().__init__()
        if not tau > 1 or not v_threshold > 0:
            raise ModelError(f"a LIF neuron needs tau > 1 and v_threshold > 0, not tau {tau}, threshold {v_threshold}")
        self.v_threshold = v_threshold
        self.tau = tau
        self.surrogate = surrogate
        self.spike = spike_function(surrogate)
        self.detach_reset = detach_reset

    def forward(self, currents: Tensor) -> Tensor:
        potential = torch.zeros_like(currents[0])
        spikes = []
        for current in currents:
            spike, potential = lif_step(
                current,
                potential,
                tau=self.tau,
                v_threshold=self.v_threshold,
                spike=self.spike,
                detach_reset=self.detach_reset,
            )
            spikes.append(spike)
        return torch.stack(spikes)

    def extra_repr(self) -> str:
        return f"v_threshold={self.v_threshold}, tau={self.tau}, surrogate={self.surrogate}"
