"""The authors' output, layer by layer: a checkpoint in their layout with its input, output and firing rates.

The output and the rates were computed in float64 by the authors' network.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from esdnet.checkpoint import import_official
from esdnet.firing import firing_rates
from esdnet.network import ESDNet, EsdnetConfig

REFERENCE = Path(__file__).parents[1] / "data" / "reference"
CHECKPOINT = REFERENCE / "official_layout_dim16.pth"


@pytest.fixture(scope="module")
def io() -> dict[str, torch.Tensor]:
    return load_file(REFERENCE / "official_layout_dim16.io.safetensors")


def test_config_is_read_from_the_keys() -> None:
    assert import_official(CHECKPOINT).config == EsdnetConfig(16, (1, 1, 1), 1, (1, 1), 4)


@torch.no_grad()
def test_output_and_firing_rates_are_the_authors_in_float64(io: dict[str, torch.Tensor]) -> None:
    network = import_official(CHECKPOINT).double()
    with firing_rates(network) as rates:
        derained = network(io["input"].double())
    expected = json.loads((REFERENCE / "official_layout_dim16.json").read_text())["firing_rates"]
    assert {name: rate.rate for name, rate in rates.items()} == pytest.approx(expected, abs=1e-12)
    assert all(rate.rate == rate.spikes > 0 for rate in rates.values())
    assert (derained - io["output"]).abs().max() <= 1e-9


@torch.no_grad()
def test_float32_stays_near(io: dict[str, torch.Tensor]) -> None:
    derained = import_official(CHECKPOINT)(io["input"])
    # A rounding error may make a neuron at its threshold fire on another machine: near on average, not everywhere.
    assert (derained - io["output"]).abs().mean() < 1e-4


def test_full_size_has_the_authors_keys_in_their_order() -> None:
    expected = json.loads((REFERENCE / "official_layout_dim48.keys.json").read_text())
    with torch.device("meta"):
        shapes = {name: list(tensor.shape) for name, tensor in ESDNet().state_dict().items()}
    assert list(shapes.items()) == list(expected.items())
