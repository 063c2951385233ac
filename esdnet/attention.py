"""Mixed attention unit of ESDNet: which time steps, which channels and which places matter, in turn.

"Learning A Spiking Neural Network for Efficient Image Deraining", IJCAI 2024, after "Attention Spiking Neural
Networks" (Yao et al., IEEE TPAMI 2023). The weights scale what charges the next neurons' membranes, and so adapt when
they fire. Attribute names are the authors' checkpoint keys.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _squeeze_excite(features: int, reduction: int) -> nn.Sequential:
    """MLP over dimension 1 of (N, features, 1, 1, 1), without biases; at least one hidden feature."""
    hidden = max(1, features // reduction)
    return nn.Sequential(
        nn.Conv3d(features, hidden, 1, bias=False), nn.ReLU(), nn.Conv3d(hidden, features, 1, bias=False)
    )


def _gate(pooled_mlp: nn.Sequential, x: Tensor) -> Tensor:
    """Sigmoid of the shared MLP over the average and the maximum of x (N, F, ·, ·, ·): (N, F, 1, 1, 1)."""
    average = x.mean(dim=(2, 3, 4), keepdim=True)
    largest = x.amax(dim=(2, 3, 4), keepdim=True)
    return torch.sigmoid(pooled_mlp(average) + pooled_mlp(largest))


class TemporalAttention(nn.Module):
    """A factor in 0..1 for each of the T time steps. x (T, N, C, H, W) to factors (T, N, 1, 1, 1)."""

    def __init__(self, time_steps: int, reduction: int = 4) -> None:
        super().__init__()
        self.sharedMLP = _squeeze_excite(time_steps, reduction)

    def forward(self, x: Tensor) -> Tensor:
        return _gate(self.sharedMLP, x.transpose(0, 1)).transpose(0, 1)


class ChannelAttention(nn.Module):
    """A factor in 0..1 for each of the C channels, pooled over time too. x (T, N, C, H, W) to (1, N, C, 1, 1)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.sharedMLP = _squeeze_excite(channels, reduction)

    def forward(self, x: Tensor) -> Tensor:
        return _gate(self.sharedMLP, x.permute(1, 2, 0, 3, 4)).permute(2, 0, 1, 3, 4)


class SpatialAttention(nn.Module):
    """A factor in 0..1 for each place, pooled over time and channels. x (T, N, C, H, W) to (1, N, 1, H, W)."""

    def __init__(self, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.stack([x.mean(dim=(0, 2)), x.amax(dim=(0, 2))], dim=1)
        factors: Tensor = torch.sigmoid(self.conv(pooled))
        return factors.unsqueeze(0)


class MixedAttention(nn.Module):
    """Temporal, channel and spatial attention in turn, each times its own input, then ReLU. Keeps (T, N, C, H, W)."""

    def __init__(self, channels: int, time_steps: int) -> None:
        super().__init__()
        self.ta = TemporalAttention(time_steps)
        self.ca = ChannelAttention(channels)
        self.sa = SpatialAttention()

    def forward(self, x: Tensor) -> Tensor:
        x = self.ta(x) * x
        x = self.ca(x) * x
        x = self.sa(x) * x
        return torch.relu(x)
