"""The changes that `ablations.py` asks about: fields of the run, other neurons, other surrogate gradients.

Neurons and surrogates that lost are here and not in the package, which has what won.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from esdnet.integer_lif import IntegerLIF
from esdnet.stream_blocks import SpikeConv
from esdnet.streaming import StreamNet
from training.rain_settings import RAIN_KINDS


class ToZero(IntegerLIF):
    """Hard reset: a neuron that fired begins at 0."""

    def forward(
        self, current: Tensor, potential: Tensor | None, trust: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        spikes, left = super().forward(current, potential, trust)
        return spikes, None if left is None else left * (spikes == 0)


def _zero_reset(network: StreamNet) -> None:
    for neurons in _neurons(network):
        neurons.__class__ = ToZero


def _fixed_leak(network: StreamNet) -> None:
    for neurons in _neurons(network):
        if neurons.carried:
            neurons.leak_logit.requires_grad_(False)


def _fixed_threshold(network: StreamNet) -> None:
    for neurons in _neurons(network):
        neurons.log_threshold.requires_grad_(False)


def _slow_channels(network: StreamNet) -> None:
    """Every fourth neuron begins with a leak of 0.9: what it holds fades over ten frames."""
    for neurons in _neurons(network):
        if neurons.carried:
            neurons.leak_logit.data[:, ::4] = math.log(9)


def _neurons(network: StreamNet) -> Iterator[IntegerLIF]:
    return (unit.lif for unit in network.modules() if isinstance(unit, SpikeConv))


Derivative = Callable[[Tensor, int], Tensor]


def _tails(drive: Tensor, levels: int) -> Tensor:
    """1 where the neuron could fire, arc tangent's tails beyond (Fang et al., ICCV 2021)."""
    outside = (-0.5 - drive).clamp_min(0) + (drive - levels - 0.5).clamp_min(0)
    return 1 / (1 + (torch.pi * outside).square())


def _stairs(drive: Tensor, levels: int) -> Tensor:
    """The logistic curve's derivative, α = 4, about the nearest of the thresholds ½, 1½ … levels − ½."""
    nearest = (torch.floor(drive) + 0.5).clamp(0.5, levels - 0.5)
    s = torch.sigmoid(4 * (drive - nearest))
    return 4 * s * (1 - s)


def _straight(drive: Tensor, levels: int) -> Tensor:
    """1 everywhere: straight through (Bengio et al., arXiv 1308.3432)."""
    return torch.ones_like(drive)


def spikes_with(derivative: Derivative) -> Callable[[Tensor, int], Tensor]:
    """`esdnet.integer_lif.integer_spikes` with that surrogate."""

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, drive: Tensor, levels: int) -> Tensor:
            ctx.save_for_backward(derivative(drive, levels))
            return torch.clamp(torch.round(drive), 0, levels)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
            return grads[0] * ctx.saved_tensors[0], None

    return Spike.apply


class Arm(NamedTuple):
    """One change: fields of the run, or of its neurons, or the surrogate."""

    about: str
    fields: Mapping[str, Any] = MappingProxyType({})
    prepare: Callable[[StreamNet], None] | None = None
    derivative: Derivative | None = None
    firing: float = 0.0
    """Weight of the mean number of spikes of a neuron in the loss."""


def _levels(levels: int, threshold: float) -> dict[str, Any]:
    return {"network.spike_levels": levels, "network.threshold": threshold}


def _shape(dims: list[int], encoder: list[int], decoder: list[int]) -> dict[str, Any]:
    return {"network.dims": dims, "network.encoder_blocks": encoder, "network.decoder_blocks": decoder}


def _span(frames: int) -> dict[str, Any]:
    """Back-propagation through so many frames, with as many frames in a step and an episode as before."""
    batch = 32 // frames
    return {"data.window": frames, "data.windows": 16 // frames, "data.batch": batch, "data.singles": batch // 2}


def _rain(kind: str) -> dict[str, Any]:
    """That kind of rain alone, beside dry scenes."""
    return {"data.rain": {each: float(each == kind) for each in RAIN_KINDS if each != "dry"}}


ARMS: dict[str, Arm] = {
    "base": Arm("as `configs/ablation.yaml`"),
    "binary": Arm("binary spikes, threshold 1", _levels(1, 1.0)),
    "4-levels": Arm("0 to 4 spikes, threshold 1", _levels(4, 1.0)),
    "8-levels": Arm("0 to 8 spikes, threshold 0.5", _levels(8, 0.5)),
    "32-levels": Arm("0 to 32 spikes, threshold 0.125", _levels(32, 0.125)),
    "zero-reset": Arm("reset to zero, not by subtraction", prepare=_zero_reset),
    "fixed-leak": Arm("leaks stay 0.05", prepare=_fixed_leak),
    "slow-leak": Arm("leaks of every fourth neuron begin at 0.9", prepare=_slow_channels),
    "fixed-threshold": Arm("thresholds stay 0.25", prepare=_fixed_threshold),
    "tails": Arm("surrogate with tails (arc tangent)", derivative=_tails),
    "stairs": Arm("surrogate that peaks at every threshold (logistic)", derivative=_stairs),
    "straight": Arm("surrogate 1 everywhere (straight through)", derivative=_straight),
    "plain": Arm("neurons' membranes alone carried, at all sizes: no picture, no alignment",
                 {"network.carry_picture": False, "network.seen": False, "network.carried_levels": [1, 2, 3]}),
    "no-align": Arm("the past is not moved", {"network.align": False}),
    "no-trust": Arm("a past that does not fit is not forgotten", {"network.trust": False}),
    "no-seen": Arm("last rainy frame not carried", {"network.seen": False}),
    "no-contrast": Arm("no contrasts at the stem", {"network.contrast": False}),
    "stateless": Arm("no neuron's membrane carried, the picture is", {"network.carried_levels": []}),
    "all-sizes": Arm("membranes carried at half size too", {"network.carried_levels": [1, 2, 3]}),
    "coarse": Arm("membranes carried at eighth size alone", {"network.carried_levels": [3]}),
    "attention": Arm("channel attention at eighth size", {"network.attention": True}),
    "wide": Arm("wider, fewer blocks", _shape([16, 32, 52], [0, 0, 1], [1, 1])),
    "deep": Arm("narrower, more blocks", _shape([14, 20, 32], [0, 2, 3], [2, 1])),
    "half-size": Arm("narrower, a block at half size too", _shape([12, 20, 36], [1, 2, 3], [1, 1])),
    "no-evenly": Arm("faint rain not evened out", {"loss.evenly": 0.0}),
    "no-ssim": Arm("no 1 − SSIM in the loss", {"loss.ssim": 0.0}),
    "ssim": Arm("the paper's loss: 1 − SSIM, chroma by Charbonnier", {"loss.luma": 0.0, "loss.ssim": 1.0}),
    "psnr": Arm("the logarithm of the squared error beside it", {"loss.psnr": 0.01}),
    "flicker": Arm("a penalty on flicker", {"loss.flicker": 0.75}),
    "firing": Arm("a penalty on firing", firing=3e-3),
    "teacher": Arm("half of the target is what `stream` makes of it", {"teacher": {"model": "stream"}}),
    "teacher-alone": Arm("all of the target is", {"teacher": {"model": "stream", "share": 1.0}}),
    "muon": Arm("kernels by Muon, not AdamW", {"optim.muon": True}),
    "muon-teacher": Arm("and half of the target is what `stream` makes of it",
                        {"optim.muon": True, "teacher": {"model": "stream"}}),
    "no-forget": Arm("membranes never dropped at random", {"data.forget": 0.0}),
    "seed": Arm("another seed: what chance does", {"seed": 62}),
    "bptt-1": Arm("no back-propagation through time", _span(1)),
    "bptt-2": Arm("through 2 frames", _span(2)),
    "bptt-8": Arm("through 8 frames", _span(8)),
    "no-singles": Arm("no single frames beside sequences", {"data.singles": 0}),
    "rendered": Arm("rain of video benchmarks only", _rain("rendered")),
    "real": Arm("rain as filmed only", _rain("real")),
    "no-codec": Arm("rain never through a codec", {"data.recompressed": 0.0}),
    "bare": Arm("photographs as they are: no rims, poles, fences, blades, lattices, text, occlusions",
                {f"data.{name}": 0.0 for name in
                 ("rims", "poles", "fences", "blades", "lattices", "captioned", "occluded", "sharpened")}),
}  # fmt: skip
