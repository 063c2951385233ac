"""Firing rates are counted where asked for, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from esdnet.errors import ModelError
from esdnet.firing import firing_rates
from esdnet.neuron import LIF


class Whole(nn.Module):
    """Fires whole numbers, and returns a potential beside them."""

    is_spiking = True

    def forward(self, spikes: Tensor) -> tuple[Tensor, Tensor]:
        return spikes, torch.zeros_like(spikes)


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.quiet = nn.Identity()
        self.binary = LIF(v_threshold=1.0)
        self.whole = Whole()

    def forward(self, x: Tensor) -> None:
        self.binary(self.quiet(x))
        self.whole(3 * x)


def test_rates_are_means_over_all_passes() -> None:
    network = Pair()
    with firing_rates(network) as rates:
        network(torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
        network(torch.tensor([[1.0, 1.0, 1.0, 0.0]]))
    assert list(rates) == ["binary", "whole"]
    assert (rates["binary"].rate, rates["binary"].spikes) == (0.5, 0.5)
    assert (rates["whole"].rate, rates["whole"].spikes) == (0.5, 1.5)


def test_nothing_is_counted_or_left_behind_outside() -> None:
    network = Pair()
    with firing_rates(network) as rates:
        network(torch.ones(1, 2))
        with pytest.raises(ModelError), firing_rates(network):
            raise ModelError("counting ends with an error, too")
    network(torch.zeros(1, 2))
    assert rates["binary"].rate == 1
    assert not any(module._forward_hooks for module in network.modules())


def test_a_network_without_spikes_is_refused() -> None:
    with pytest.raises(ModelError, match="no spiking layer"), firing_rates(nn.Linear(1, 1)):
        pass
