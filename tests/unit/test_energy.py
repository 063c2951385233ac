"""Energy is counted convolution by convolution: spikes add, everything else multiplies."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import esdnet
from esdnet.complexity import complexity
from esdnet.energy import energy_meter
from esdnet.errors import ModelError
from esdnet.network import ESDNet, EsdnetConfig
from esdnet.streaming import StreamConfig, StreamNet


class Fires(nn.Module):
    """Gives what it is told to."""

    is_spiking = True

    def __init__(self, spikes: Tensor) -> None:
        super().__init__()
        self.spikes = spikes

    def forward(self, _x: Tensor) -> tuple[Tensor, None]:
        return self.spikes, None


class Net(nn.Module):
    def __init__(self, spikes: Tensor) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 1, bias=False)
        self.lif = Fires(spikes)
        self.conv = nn.Conv2d(2, 3, 1, bias=False)
        self.plain = nn.Conv2d(3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        spikes, _ = self.lif(self.stem(x))
        y: Tensor = self.plain(self.conv(spikes))
        return y


def test_an_integer_spike_counts_as_so_many_and_only_spikes_add() -> None:
    spikes = torch.zeros(1, 2, 4, 4)
    spikes[0, 0, 0, 0], spikes[0, 1, 2, 3] = 3, 1  # four spikes go down three connections each
    network = Net(spikes)
    with energy_meter(network) as energy:
        network(torch.rand(1, 1, 4, 4))
        network(torch.rand(1, 1, 4, 4))
    assert list(energy) == ["stem", "conv", "plain"]
    assert [layer.spiking for layer in energy.values()] == [False, True, False]
    assert energy["conv"].accumulates == pytest.approx(2 * 4 * 3)
    assert energy["stem"].macs == 2 * 2 * 16
    analog = 4.6 * 2 * (2 * 16 + 3 * 16)
    assert energy.energy_pj == pytest.approx(analog + 0.9 * 24)
    assert energy.twin_pj == pytest.approx(4.6 * 2 * 16 * (2 + 6 + 3))
    summary = energy.summary(pixels=16, frames=2)
    assert summary["kmacs_per_pixel"] == pytest.approx(5e-3)
    assert summary["kaccumulates_per_pixel"] == pytest.approx(12 / 16 / 1e3)
    assert sum(layer["energy_share"] for layer in summary["layers"]) == pytest.approx(1)
    assert not any(module._forward_hooks for module in network.modules())


def test_the_twin_of_a_picture_network_takes_one_time_step() -> None:
    shape = {"dim": 4, "encoder_blocks": (1, 1, 1), "level3_decoder_blocks": 1, "decoder_blocks": (1, 1)}
    picture = torch.rand(1, 3, 16, 16)
    found = {}
    for steps in (1, 3):
        torch.manual_seed(0)
        network = ESDNet(EsdnetConfig(**shape, time_steps=steps)).eval()
        with energy_meter(network) as energy, torch.no_grad():
            network(picture)
        found[steps] = energy
    block = "encoder_level1.0.residual.1"
    assert found[3][block].macs == 3 * found[1][block].macs
    assert found[3][block].twin_macs == found[1][block].twin_macs
    assert found[3][block].spiking
    assert not found[3]["encoder_level1.0.shortcut.0"].spiking  # multiplies: it is fed with features
    assert found[3]["patch_embed.proj"].macs == found[1]["patch_embed.proj"].macs


def test_a_stream_multiplies_at_its_stem_and_head_alone() -> None:
    network = StreamNet(StreamConfig(dims=(8, 8, 8), attention=False)).eval()
    state = network.initial_state(1, 16, 16)
    with energy_meter(network) as energy, torch.no_grad():
        for _ in range(2):
            _, state = network.step(torch.rand(1, 6, 16, 16), state)
    assert [name for name, layer in energy.items() if not layer.spiking] == ["stem", "head"]


def test_complexity_counts_both_kinds_of_network() -> None:
    cost = complexity(ESDNet(EsdnetConfig(4, (1, 1, 1), 1, (1, 1), 2)), 16, 16)
    assert cost.state_values_per_pixel == 0
    assert cost.kmacs_per_pixel > 1
    streaming = complexity(esdnet.load("stream-nano"))
    assert streaming.kmacs_per_pixel < 5  # the card's promise
    assert streaming.state_values_per_pixel > 6
    with pytest.raises(ModelError, match="neither a StreamNet nor an ESDNet"):
        complexity(nn.Conv2d(1, 1, 1))
