"""What a streaming network (`streaming.py`) is built of: spike convolution units, residual blocks, and one step's walk
through their membranes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esdnet.integer_lif import IntegerLIF
from esdnet.state import MembraneState
from esdnet.stream_config import StreamConfig


class SpikeConv(nn.Module):
    """Spike convolution unit: LIF → conv → threshold-scaled batch norm (tdBN, Zheng et al., AAAI 2021).

    tdBN starts with a weight of α times the threshold, so that currents arrive on the scale of the firing threshold.
    """

    def __init__(self, cin: int, cout: int, config: StreamConfig, level: int, *, kernel: int = 3, stride: int = 1,
                 gain: float = 1.0) -> None:  # fmt: skip
        super().__init__()
        self.scale = 2 ** (level - 1)
        self.lif = IntegerLIF(cin, levels=config.spike_levels, carried=level in config.carried_levels,
                              threshold=config.threshold, leak=0.05)  # fmt: skip
        self.conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(cout, momentum=0.02)
        nn.init.constant_(self.norm.weight, gain)

    def forward(self, x: Tensor, potential: Tensor | None, trust: Tensor | None) -> tuple[Tensor, Tensor | None]:
        spikes, potential = self.lif(x, potential, trust)
        current: Tensor = self.norm(self.conv(spikes))
        return current, potential


class _MixOfChannels(nn.Conv2d):
    """A 1×1 convolution of a picture of one pixel, as a sum: libraries of convolutions compute the pictures of a batch
    otherwise than one alone, and what is off by a bit here is so for every neuron of the stream."""

    def forward(self, x: Tensor) -> Tensor:
        products = self.weight.flatten(1) * x.flatten(1).unsqueeze(1)  # (N, out, in)
        assert self.bias is not None
        return (products.sum(2) + self.bias)[..., None, None]


class ChannelAttention(nn.Module):
    """Scales each channel by twice the sigmoid of an MLP over all channels' averages (Hu et al., CVPR 2018).

    It lets a network that sees 70 pixels know what holds for the whole picture: whether it rains, as it turned out; so
    the shipped weights do without it (docs/experiments/neurons.md). Every gain is 1 at first, so that it may be added
    to a network that has learnt already.
    """

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = _MixOfChannels(channels, hidden, 1)
        self.excite = _MixOfChannels(hidden, channels, 1)
        nn.init.zeros_(self.excite.weight)
        assert self.excite.bias is not None
        nn.init.zeros_(self.excite.bias)

    def forward(self, x: Tensor) -> Tensor:
        wide = torch.float32 if x.dtype == torch.float16 else x.dtype  # half precision cannot hold a picture's sum
        mean = x.to(wide).mean(dim=(2, 3), keepdim=True).to(x.dtype)
        share: Tensor = torch.sigmoid(self.excite(F.relu(self.squeeze(mean))))
        return x * (2.0 * share)


class Block(nn.Module):
    """Spiking residual block: two spike convolution units beside the identity."""

    def __init__(self, dim: int, config: StreamConfig, level: int) -> None:
        super().__init__()
        self.first = SpikeConv(dim, dim, config, level)
        self.second = SpikeConv(dim, dim, config, level, gain=0.2)
        self.attention = ChannelAttention(dim) if config.attention and level == 3 else nn.Identity()

    def forward(self, x: Tensor, run: Run) -> Tensor:
        change: Tensor = self.attention(run(self.second, run(self.first, x)))
        return x + change


class Run:
    """One step's walk through the membranes: hands each spiking unit its potential and gathers the new ones."""

    def __init__(self, state: MembraneState, names: dict[nn.Module, str], trust: Tensor | None) -> None:
        self._state, self._names = state, names
        self._trusts = {} if trust is None else {1: trust}  # scale → trust at that size, each made once
        self.potentials: dict[str, Tensor] = {}

    def __call__(self, unit: SpikeConv, x: Tensor) -> Tensor:
        name = self._names.get(unit)
        potential, trust = (self._state[name], self._trust_at(unit.scale)) if name else (None, None)
        result: tuple[Tensor, Tensor] = unit(x, potential, trust)
        if name:
            self.potentials[name] = result[1]
        return result[0]

    def _trust_at(self, scale: int) -> Tensor | None:
        if self._trusts and scale not in self._trusts:
            self._trusts[scale] = F.avg_pool2d(self._trusts[1], scale)
        return self._trusts.get(scale)
