"""OpenVINO in bfloat16 gives what eager gives to half a grey level, and is refused where the processor has none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

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
def test_streams_of_planes_whose_membranes_are_bfloat16_fire_as_eager_does(network: StreamNet) -> None:
    """As above, but with the membranes that streams carry, which are rounded from frame to frame."""
    eager: Any = open_runtime("eager", network)
    probe: Any = open_runtime("eager", network)
    runtime = open_runtime("openvino_bf16", network, threads=1)
    lent, own = (runtime.open_stream(160, 256, full_range=False) for _ in range(2))
    state = eager.initial_state(1, 80, 128)
    rates: dict[str, dict[str, FiringRate]] = {}
    with firing_rates(eager._network) as rates["eager"], firing_rates(probe._network) as rates["own"]:
        for index, planes in enumerate(frames_of(160, 256, FRAMES)):
            if index == RESET_AT:
                state = state.reset()
                own.put_state(own.take_state().reset())
            lent.put_state(state)
            probe.step(packed(planes), own.take_state())
            expected, state = eager.step(packed(planes), state)
            assert psnr(packed(lent.step(planes)), expected, 1.0) >= 49, index  # of 8-bit codes, 57 dB at best
            own.step(planes)
    for layer, rate in rates["eager"].items():
        assert rate.rate > 0.05
        assert rates["own"][layer].rate == pytest.approx(rate.rate, rel=0.01), layer


@native
def test_membranes_of_streams_take_half_the_memory_and_pictures_are_not_rounded(network: StreamNet) -> None:
    """A step reads and writes 13.5 MB of potentials at 640×360 in float32, which many streams wait for."""
    stream = open_runtime("openvino_bf16", network, threads=1).open_stream(160, 256, full_range=False)
    for planes in frames_of(160, 256, 3):
        stream.step(planes)
    state = stream.take_state()
    for name in state:
        rounded = torch.equal(state[name], state[name].bfloat16().float())
        assert rounded == (name not in ("picture", "seen")), name
    assert state["encoder2.0.first"].abs().max() > 0.1


@native
def test_a_stream_goes_on_from_a_state_that_was_taken(network: StreamNet) -> None:
    runtime = open_runtime("openvino_bf16", network, threads=1)
    first, second = (runtime.open_stream(160, 256, full_range=False) for _ in range(2))
    *before, after = frames_of(160, 256, 5)
    for planes in before:
        first.step(planes)
    second.put_state(first.take_state())
    for a, b in zip(first.step(after), second.step(after), strict=True):
        assert np.array_equal(a, b)


@native
def test_it_computes_in_bfloat16(network: StreamNet) -> None:
    """It is not the other runtime's arithmetic under this name."""
    lower, full = (open_runtime(name, network, threads=1) for name in ("openvino_bf16", "openvino"))
    (planes,) = frames_of(160, 256, 1)
    state = lower.initial_state(1, 80, 128)
    pictures = [runtime.step(packed(planes), state)[0] for runtime in (lower, full)]
    assert psnr(*pictures, 1.0) < 80


def test_without_bfloat16_it_is_refused_and_auto_goes_on(network: StreamNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esdnet.runtimes.openvino_bf16.plugins_own_precision", lambda: "f32")
    with pytest.raises(RuntimeMissing, match="no bfloat16"):
        open_runtime("openvino_bf16", network)
    choice = choose_runtime("auto", network, threads=1)
    assert (choice.runtime.name, choice.note) == ("openvino", "")
