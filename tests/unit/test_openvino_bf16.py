"""OpenVINO in bfloat16 gives what eager gives to half a grey level, and is refused where the processor has none."""

from __future__ import annotations

from typing import Any

import pytest

from esdnet.firing import FiringRate, firing_rates
from esdnet.models import load
from esdnet.runtimes import RuntimeMissing, choose_runtime, open_runtime
from esdnet.streaming import StreamNet
from tests.parity import frames_of, packed, psnr

pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
from esdnet.runtimes.openvino import plugins_own_precision

FRAMES, RESET_AT = 100, 40
native = pytest.mark.skipif(plugins_own_precision() != "bf16", reason="this processor has no bfloat16")


@pytest.fixture(scope="module")
def network() -> StreamNet:
    network = load("stream-nano")
    assert isinstance(network, StreamNet)
    return network


@native
def test_pictures_and_firing_rates_are_eagers(network: StreamNet) -> None:
    """Pictures from the same membranes; firing rates where it goes its own way from the first frame on."""
    eager: Any = open_runtime("eager", network)
    probe: Any = open_runtime("eager", network)
    lower = open_runtime("openvino_bf16", network, threads=1)
    state = own = eager.initial_state(1, 80, 128)
    rates: dict[str, dict[str, FiringRate]] = {}
    with firing_rates(eager._network) as rates["eager"], firing_rates(probe._network) as rates["own"]:
        for index, planes in enumerate(frames_of(160, 256, FRAMES)):
            if index == RESET_AT:
                state, own = state.reset(), own.reset()
            frame = packed(planes)
            got, _ = lower.step(frame, state)
            expected, state = eager.step(frame, state)
            assert psnr(got, expected, 1.0) >= 50, index
            probe.step(frame, own)
            _, own = lower.step(frame, own)
    for layer, rate in rates["eager"].items():
        assert rate.rate > 0.05
        assert rates["own"][layer].rate == pytest.approx(rate.rate, rel=0.01), layer


@native
def test_it_computes_in_bfloat16_and_keeps_float32_membranes(network: StreamNet) -> None:
    """Neither is the other runtime's arithmetic under this name, nor are potentials rounded from frame to frame."""
    lower, full = (open_runtime(name, network, threads=1) for name in ("openvino_bf16", "openvino"))
    frames = [packed(planes) for planes in frames_of(160, 256, 2)]
    state = lower.initial_state(1, 80, 128)
    pictures = []
    for runtime in (lower, full):
        picture, after = runtime.step(frames[0], state)
        pictures.append(picture)
    assert psnr(pictures[0], pictures[1], 1.0) < 80
    _, after = lower.step(frames[1], state)
    assert any((tensor != tensor.bfloat16().float()).any() for tensor in after.tensors())


def test_without_bfloat16_it_is_refused_and_auto_goes_on(network: StreamNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esdnet.runtimes.openvino_bf16.plugins_own_precision", lambda: "f32")
    with pytest.raises(RuntimeMissing, match="no bfloat16"):
        open_runtime("openvino_bf16", network)
    choice = choose_runtime("auto", network, threads=1)
    assert (choice.runtime.name, choice.note) == ("openvino", "")
