"""Spiking convolutions in whole numbers: weights on a grid, and compiled graphs that multiply integers with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import esdnet
from esdnet.fold import fold_batch_norm
from esdnet.integer_weights import LARGEST, integers_of, round_weights
from esdnet.stream_blocks import SpikeConv
from esdnet.streaming import StreamConfig, StreamNet
from tests.parity import frames_of, packed, psnr


@pytest.fixture
def network() -> StreamNet:
    """Small and firing, without the motion search, with batch norms that have seen something, on the grid."""
    torch.manual_seed(0)
    net = StreamNet(StreamConfig(dims=(8, 8, 16), encoder_blocks=(0, 1, 1), decoder_blocks=(0, 1), align=False))
    torch.nn.init.normal_(net.head.weight, std=0.003)
    torch.nn.init.kaiming_uniform_(net.stem.weight)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, -1.0, 1.0)
            torch.nn.init.uniform_(module.running_var, 0.3, 2.0)  # type: ignore[arg-type]
    round_weights(net)
    return net.eval()


def spiking(network: torch.nn.Module) -> list[torch.Tensor]:
    return [module.conv.weight for module in network.modules() if isinstance(module, SpikeConv)]


def test_rounded_weights_are_integers_times_a_scale_a_channel() -> None:
    torch.manual_seed(1)
    net = StreamNet(StreamConfig(dims=(8, 8, 16), encoder_blocks=(0, 0, 1), decoder_blocks=(0, 0)))
    before = [weight.detach().clone() for weight in spiking(net)]
    others = {name: tensor.clone() for name, tensor in net.state_dict().items() if not name.endswith("conv.weight")}
    round_weights(net)
    for old, new in zip(before, spiking(net), strict=True):
        assert integers_of(old) is None
        found = integers_of(new)
        assert found is not None
        integers, scale = found
        assert torch.equal(integers, integers.round())
        assert int(integers.abs().amax()) == LARGEST
        assert torch.allclose(integers * scale.view(-1, 1, 1, 1), new, atol=0, rtol=1e-6)
        assert bool(((new - old).abs() <= 0.5001 * scale.view(-1, 1, 1, 1)).all())
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in others.items())


def test_folding_batch_norm_keeps_them_so(network: StreamNet) -> None:
    for before, after in zip(spiking(network), spiking(fold_batch_norm(network)), strict=True):
        expected, found = integers_of(before), integers_of(after)
        assert expected is not None
        assert found is not None
        assert torch.equal(expected[0].abs(), found[0].abs())


def test_a_channel_of_zeros_and_one_that_is_no_number() -> None:
    weight = torch.zeros(2, 3, 3, 3)
    found = integers_of(weight)
    assert found is not None
    assert not found[0].any()
    assert integers_of(torch.full_like(weight, torch.nan)) is None


@pytest.mark.parametrize("name", ["stream", "stream-nano"])
def test_shipped_weights_are_such(name: str) -> None:
    network = esdnet.load(name)
    assert all(integers_of(weight) is not None for weight in spiking(network))


def graph(network: StreamNet, monkeypatch: pytest.MonkeyPatch, integers: bool) -> tuple[Any, list[str]]:
    """An OpenVINO runtime that multiplies integers or not, and the kinds of its graph's convolutions."""
    openvino = pytest.importorskip("esdnet.runtimes.openvino", reason="the extra `openvino` is not installed")
    monkeypatch.setattr(openvino, "multiplies_integers", lambda: integers)
    runtime = openvino.OpenvinoRuntime(network, threads=1)
    state = runtime.initial_state(1, 24, 40)
    runtime.step(torch.zeros(1, 6, 24, 40), state)
    (compiled,) = runtime._compiled.values()
    told = (node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops())
    kinds = [str(info["primitiveType"].value) for info in told if str(info["layerType"].value) == "Convolution"]
    return runtime, kinds


def test_openvino_multiplies_integers_and_gets_what_floats_give(
    network: StreamNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino = pytest.importorskip("esdnet.runtimes.openvino", reason="the extra `openvino` is not installed")
    if not openvino.multiplies_integers():
        pytest.skip("this processor has no AVX512-VNNI")
    exact, floats = graph(network, monkeypatch, False)
    quick, kinds = graph(network, monkeypatch, True)
    count = len(spiking(network))
    assert sum("I8" in kind for kind in kinds) == count, kinds
    assert not any("I8" in kind for kind in floats)
    states = [runtime.initial_state(1, 24, 40) for runtime in (exact, quick)]
    for planes in frames_of(48, 80, 30):
        frame = packed(planes)
        outcomes = [runtime.step(frame, state) for runtime, state in zip((exact, quick), states, strict=True)]
        (expected, _), (found, _) = outcomes
        states = [state for _, state in outcomes]
        assert psnr(found, expected, 1.0) >= 70


def test_weights_that_are_on_no_grid_are_left_as_they_are(network: StreamNet, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.no_grad():
        for weight in spiking(network):
            weight += 0.001 * torch.from_numpy(np.random.default_rng(0).normal(size=weight.shape)).float()
    _, kinds = graph(network, monkeypatch, True)
    assert not any("I8" in kind for kind in kinds)
