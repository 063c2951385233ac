"""Building blocks of ESDNet: spike convolution unit, spiking residual block, down and up sampling, feature refinement.

"Learning A Spiking Neural Network for Efficient Image Deraining", IJCAI 2024. Tensors are multi-step, (T, N, C, H, W),
in a floating dtype. Attribute names, and the places in each `nn.Sequential`, are the authors' checkpoint keys.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esdnet.attention import MixedAttention
from esdnet.neuron import LIF

V_THRESHOLD = 0.15
TDBN_ALPHA = 2**-0.5


def _each_step(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function` of (N, C, H, W) on every time step of x (T, N, C, H, W), all in one batch."""
    y = function(x.flatten(0, 1))
    return y.reshape(x.shape[0], x.shape[1], *y.shape[1:])


class MultiStepConv2d(nn.Conv2d):
    """The same convolution at every time step: (T, N, Cin, H, W) to (T, N, Cout, H', W')."""

    def forward(self, input: Tensor) -> Tensor:
        return _each_step(super().forward, input)


class ThresholdDependentBatchNorm2d(nn.BatchNorm2d):
    """Batch normalization over time, batch and place, scaled to the firing threshold (tdBN).

    The weight starts at alpha * v_threshold, so that membranes charge on the scale of the threshold and layers neither
    stay silent nor saturate (Zheng et al., "Going Deeper With Directly-Trained Larger Spiking Neural Networks", AAAI
    2021). Keeps (T, N, C, H, W).
    """

    def __init__(self, channels: int, v_threshold: float = V_THRESHOLD) -> None:
        super().__init__(channels)
        nn.init.constant_(self.weight, TDBN_ALPHA * v_threshold)

    def forward(self, input: Tensor) -> Tensor:
        return _each_step(super().forward, input)


def conv_norm(cin: int, cout: int, *, kernel: int = 3, stride: int = 1, gain: float = 1.0) -> list[nn.Module]:
    """Convolution without bias, then tdBN for `gain` times the threshold."""
    conv = MultiStepConv2d(cin, cout, kernel, stride=stride, padding=kernel // 2, bias=False)
    return [conv, ThresholdDependentBatchNorm2d(cout, gain * V_THRESHOLD)]


def spike_conv_unit(cin: int, cout: int, *, kernel: int = 3, stride: int = 1, gain: float = 1.0) -> list[nn.Module]:
    """Spike convolution unit: LIF, convolution, tdBN."""
    return [LIF(V_THRESHOLD), *conv_norm(cin, cout, kernel=kernel, stride=stride, gain=gain)]


class SpikingResidualBlock(nn.Module):
    """Two spike convolution units beside a plain convolution; their sum through the attention, plus the input."""

    def __init__(self, channels: int, time_steps: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *spike_conv_unit(channels, channels), *spike_conv_unit(channels, channels, gain=0.2)
        )
        self.shortcut = nn.Sequential(*conv_norm(channels, channels))
        self.attn = MixedAttention(channels, time_steps)

    def forward(self, x: Tensor) -> Tensor:
        attended: Tensor = self.attn(self.residual(x) + self.shortcut(x))
        return attended + x


class DownSampling(nn.Module):
    """Half the size, twice the channels: LIF, convolution of stride 2, tdBN. Nothing is max-pooled in it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(*spike_conv_unit(channels, 2 * channels, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.maxpool_conv(x)
        return y


class UpSampling(nn.Module):
    """Twice the size, half the channels: bilinear, then LIF, convolution, tdBN."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up = nn.Sequential(*spike_conv_unit(channels, channels // 2))

    def forward(self, x: Tensor) -> Tensor:
        larger = _each_step(lambda y: F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False), x)
        y: Tensor = self.up(larger)
        return y


class FeatureRefinement(nn.Module):
    """Blends each value x with a level `a` of its channel by a mask t in 0..1: (1 - t) * a + t * x.

    No spikes: it works on the mean over the time steps. Keeps (N, C, H, W).
    """

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.ca = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1)
        )
        self.sa = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.Conv2d(channels, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        a = torch.sigmoid(self.ca(x))
        t = torch.sigmoid(self.sa(x))
        return (1 - t) * a + t * x
