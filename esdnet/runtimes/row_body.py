"""The body of a streaming network as OpenVINO wants it: everything between two convolutions as (N, 1, H, W, C).

OpenVINO's convolutions on a CPU work on channels-last memory, its graph's inputs and outputs are channels-first, and
its element-wise steps follow the one or the other: with membranes (N, C, H, W) it turned every layer's currents, spikes
and potentials around, a sixth of the step. Here channels come last by shape, so there is one layout only, and it is the
convolutions' own: the permutations written here move no memory, and the compiler sees that they don't. (The 1 is there
because it sees that only where the number of dimensions changes.)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esdnet.fold import fold_batch_norm
from esdnet.integer_lif import IntegerLIF, integer_spikes
from esdnet.integer_weights import LARGEST, integers_of
from esdnet.state import MembraneState
from esdnet.stream_blocks import SpikeConv
from esdnet.streaming import StreamNet

_MOST_SPIKES = 255
"""That an unsigned 8-bit integer holds."""


def to_rows(x: Tensor) -> Tensor:
    """(N, C, H, W) → (N, 1, H, W, C); a view."""
    return x.permute(0, 2, 3, 1).unsqueeze(1)


def from_rows(x: Tensor) -> Tensor:
    """The inverse of `to_rows`."""
    return x.squeeze(1).permute(0, 3, 1, 2)


class _OnRows(nn.Module):
    """A layer between rows; the first one takes a picture (N, C, H, W), the last one gives one."""

    def __init__(self, layer: nn.Module, *, first: bool = False, last: bool = False) -> None:
        super().__init__()
        self.layer, self.first, self.last = layer, first, last
        if isinstance(layer, nn.Conv2d):
            self.weight = layer.weight  # tells the network its dtype and its device

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x if self.first else from_rows(x))
        return y if self.last else to_rows(y)


class _IntegerConv(nn.Module):
    """A spiking convolution whose weights are integers times a scale a channel.

    Rounding them changes nothing, it tells the compiler that they are; `_RowLIF` does so with the spikes.
    """

    def __init__(self, conv: nn.Conv2d, integers: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.conv = conv
        self.register_buffer("scale", scale)
        self.register_buffer("zero", torch.zeros_like(scale, dtype=torch.int32))
        self.conv.weight.data = integers * scale.view(-1, 1, 1, 1)

    scale: Tensor
    zero: Tensor

    def forward(self, spikes: Tensor) -> Tensor:
        weight = torch.fake_quantize_per_channel_affine(self.conv.weight, self.scale, self.zero, 0, -LARGEST, LARGEST)
        return F.conv2d(spikes, weight, self.conv.bias, self.conv.stride, self.conv.padding)


class _RowLIF(nn.Module):
    """`IntegerLIF` for inference on rows: currents, spikes and potentials are (N, 1, H, W, C), trust (N, 1, H, W).

    `integers`: the spikes are for an `_IntegerConv`. They are rounded here, before anything turns them around, so that
    one pass over memory makes 8-bit spikes and the new potential.
    """

    is_spiking = True

    def __init__(self, lif: IntegerLIF, integers: bool) -> None:
        super().__init__()
        self.integers = integers
        self.levels, self.carried, self.channels = lif.levels, lif.carried, lif.channels
        threshold = torch.exp(lif.log_threshold.detach()).flatten()
        self.register_buffer("threshold", threshold)
        self.register_buffer("spikes_of", torch.exp(-lif.log_threshold.detach()).flatten())
        if lif.carried:
            self.register_buffer("leak", torch.sigmoid(lif.leak_logit.detach()).flatten())

    threshold: Tensor
    spikes_of: Tensor
    leak: Tensor

    def forward(
        self, current: Tensor, potential: Tensor | None, trust: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        charge = current
        if self.carried and potential is not None:
            if trust is not None:
                potential = potential * trust.unsqueeze(-1)
            charge = charge + self.leak * potential
        spikes = integer_spikes(charge * self.spikes_of, self.levels)
        potential = charge - spikes * self.threshold if self.carried else None
        if self.integers:
            spikes = torch.fake_quantize_per_tensor_affine(spikes, 1.0, 0, 0, _MOST_SPIKES)
        return spikes, potential


def with_row_body(network: StreamNet, *, integers: bool = False) -> StreamNet:
    """A copy for inference, batch norm folded, whose layers of neurons carry potentials (N, 1, H, W, C).

    `integers`: spiking convolutions whose weights lie on a grid (`integer_weights.py`) are written so that a compiler
    for a processor that multiplies 8-bit integers does.
    """
    network = fold_batch_norm(network).float().requires_grad_(False)
    for module in list(network.modules()):
        if integers and isinstance(module, SpikeConv) and isinstance(module.conv, nn.Conv2d):
            on_grid = integers_of(module.conv.weight)
            if on_grid is not None and module.lif.levels <= _MOST_SPIKES:
                setattr(module, "conv", _IntegerConv(module.conv, *on_grid))  # noqa: B010  # as below
        if isinstance(lif := getattr(module, "lif", None), IntegerLIF):
            setattr(module, "lif", _RowLIF(lif, isinstance(getattr(module, "conv", None), _IntegerConv)))  # noqa: B010  # no type says which modules have one
        for name in ("conv", "attention"):
            layer = getattr(module, name, None)
            if isinstance(layer, nn.Module) and not isinstance(layer, nn.Identity):
                setattr(module, name, _OnRows(layer))
    borders: dict[str, nn.Module] = {
        "stem": _OnRows(network.stem, first=True),
        "grow": _OnRows(network.grow),
        "head": _OnRows(network.head, last=True),
    }
    for name, border in borders.items():
        setattr(network, name, border)
    return network


class RowStates:
    """Turns states of a network, (N, C, H, W) a layer, into what its row body takes and back; views both ways."""

    def __init__(self, network: StreamNet) -> None:
        self._layers = {name for name, _ in network.named_modules()}

    def membranes(self, state: MembraneState) -> list[int]:
        """The places of layers' potentials among the state's tensors; the others are pictures and their age."""
        return [index for index, name in enumerate(state) if name in self._layers]

    def rows(self, state: MembraneState) -> list[Tensor]:
        return [to_rows(state[name]) if name in self._layers else state[name] for name in state]

    def state(self, rows: Sequence[Tensor], names: Sequence[str]) -> MembraneState:
        pairs = zip(names, rows, strict=True)
        return MembraneState({name: from_rows(row) if name in self._layers else row for name, row in pairs})
