"""The network a run begins with: what has been learnt already is not lost where it grows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from esdnet.checkpoint import save
from esdnet.models import load
from esdnet.stream_blocks import ChannelAttention
from esdnet.streaming import StreamConfig, StreamNet
from training.networks import build_network
from training.packed_clips import DataError
from training.run_config import RunConfig


def run(shape: dict[str, Any], init: str = "stream-nano") -> RunConfig:
    return RunConfig.model_validate(
        {"name": "a", "init": init, "network": shape, "data": {"clips": [{"path": "clips"}]}, "threads": 1}
    )


def nano() -> StreamNet:
    network = load("stream-nano")
    assert isinstance(network, StreamNet)
    return network


@torch.no_grad()
def derained(network: StreamNet, frames: int = 3) -> list[torch.Tensor]:
    """In float64: in float32 a neuron within rounding of its threshold may fire in one order of memory and not in the
    other, and 0.03 of the picture's range go with it."""
    torch.manual_seed(0)
    network.eval().double()
    state, scene, found = network.initial_state(1, 32, 48), torch.rand(1, 6, 32, 48).double() * 0.6, []
    for _ in range(frames):
        picture, state = network.step(scene + 0.05 * torch.rand(1, 6, 32, 48), state)
        found.append(picture)
    return found


@pytest.mark.parametrize("grown", [{"encoder_blocks": [1, 2, 3]}, {"attention": True}, {"decoder_blocks": [1, 3]}])
def test_a_network_that_grows_begins_as_the_one_it_grew_from(grown: dict[str, Any]) -> None:
    start = nano()
    network = build_network(run(dataclasses.asdict(start.config) | grown))
    assert isinstance(network, StreamNet)
    assert len(network.state_dict()) > len(start.state_dict())
    for ours, theirs in zip(derained(network), derained(start), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("levels", [32, 8])
def test_other_spike_levels_keep_what_was_learnt(levels: int) -> None:
    """Weights that came with thresholds for 16 spikes were cut off at 8, and gave another picture altogether."""
    start = nano()
    shape = dataclasses.asdict(start.config) | {"spike_levels": levels}
    network = build_network(run(shape))
    assert isinstance(network, StreamNet)
    as_it_came = StreamNet(StreamConfig(**shape))
    as_it_came.load_state_dict(start.state_dict())

    def apart(other: StreamNet) -> float:
        pairs = zip(derained(other), derained(start), strict=True)
        return float(torch.stack([(a - b).square().mean() for a, b in pairs]).mean().sqrt())

    assert apart(network) < 0.01
    if levels < start.config.spike_levels:
        assert apart(network) < apart(as_it_came) / 2


def test_a_network_that_shrinks_is_refused() -> None:
    with pytest.raises(DataError, match="does not fit the network of this run"):
        build_network(run(dataclasses.asdict(nano().config) | {"encoder_blocks": [0, 1, 1]}))


def test_attention_may_be_dropped(tmp_path: Path) -> None:
    with_it = build_network(run(dataclasses.asdict(nano().config) | {"attention": True}))
    save(with_it, tmp_path / "with.safetensors")
    without = build_network(run(dataclasses.asdict(nano().config), init=str(tmp_path / "with.safetensors")))
    assert isinstance(without, StreamNet)
    for ours, theirs in zip(derained(without), derained(nano()), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_attention_gives_a_stream_in_a_batch_what_it_gives_it_alone() -> None:
    """Convolutions of one pixel round otherwise for two pictures than for one, and here that reaches every neuron."""
    torch.manual_seed(3)
    layer = ChannelAttention(40)
    torch.nn.init.normal_(layer.excite.weight, std=0.3)
    features = torch.rand(3, 40, 8, 12)
    with torch.no_grad():
        together = layer(features)
        assert not torch.allclose(together, features)
        for index in range(3):
            assert torch.equal(layer(features[index : index + 1]), together[index : index + 1])
