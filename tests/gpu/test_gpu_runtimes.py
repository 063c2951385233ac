"""The GPU runtimes on a GPU: the pictures of eager on the processor, frames a second, NVDEC and NVENC.

`pytest tests/gpu -rA` shows the figures. Needs nothing from the network; builds its engines into a folder of its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from esdnet import Derainer
from esdnet.models import load
from esdnet.runtimes import RUNTIMES
from esdnet.runtimes.eager import EagerRuntime
from esdnet.runtimes.graph_runtime import GraphRuntime
from esdnet.runtimes.step_spec import StepSpec
from esdnet.state import MembraneState
from esdnet.streaming import StreamNet
from pipeline import codec_devices
from tests.clips import make_clip
from tests.conftest import Derain
from tests.facts import facts
from tests.streams import rainy_frames

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU that PyTorch can use on this machine"),
]
HEIGHT, WIDTH = 96, 160  # of packed frames
FRAMES = 100
SIZES = {"720p": (720, 1280), "1080p": (1080, 1920), "4K": (2160, 3840)}
needs_tensorrt = pytest.mark.skipif(find_spec("torch_tensorrt") is None, reason="Torch-TensorRT is not installed")
names = pytest.mark.parametrize("name", ["cuda_graph", pytest.param("tensorrt", marks=needs_tensorrt)])


def open_runtime(name: str, precision: str = "fp16", model: str = "stream-nano") -> GraphRuntime:
    from importlib import import_module

    module, runtime_class = RUNTIMES[name]
    runtime = getattr(import_module(module), runtime_class)(network(model), precision=precision)
    assert isinstance(runtime, GraphRuntime)
    return runtime


def network(model: str = "stream-nano") -> StreamNet:
    net = load(model)
    assert isinstance(net, StreamNet)
    return net


@names
@pytest.mark.parametrize(("precision", "least"), [("fp16", 50.0), ("fp32", 70.0)])
def test_a_hundred_frames_with_resets_are_those_of_eager(name: str, precision: str, least: float) -> None:
    runtime, eager = open_runtime(name, precision), EagerRuntime(network())
    ours, theirs = (r.initial_state(1, HEIGHT, WIDTH) for r in (runtime, eager))
    decibels = []
    for number, frame in enumerate(rainy_frames(FRAMES, HEIGHT, WIDTH)):
        if number in (33, 70):
            ours, theirs = ours.reset(), theirs.reset()
        found, ours = runtime.step(frame, ours)
        expected, theirs = eager.step(frame, theirs)
        decibels.append(-10 * math.log10(float((found - expected).square().mean()) + 1e-20))
    print(f"{name} {precision}: median {sorted(decibels)[FRAMES // 2]:.1f} dB, lowest {min(decibels):.1f} dB")
    assert sorted(decibels)[FRAMES // 4] >= least
    for member in ours:  # firing leaves its trace in the membranes: as large as eager's, to one in a hundred
        size, same = float(ours[member].float().abs().mean()), float(theirs[member].abs().mean())
        assert size == pytest.approx(same, rel=0.01, abs=1e-4), member


@names
def test_planes_stay_exact_where_nothing_is_removed_and_states_move(name: str) -> None:
    import numpy as np

    planes = [np.full((90, 161), 120, np.uint8), np.full((45, 81), 100, np.uint8), np.full((45, 81), 140, np.uint8)]
    derainer, eager = Derainer("stream-nano", runtime=name), Derainer("stream-nano", runtime="eager")
    for _ in range(6):
        found, expected = derainer(planes), eager(planes)
        for ours, theirs in zip(found, expected, strict=True):
            assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1
    state = derainer.state
    assert state is not None
    eager.state = MembraneState.from_bytes(state.to_bytes())
    for ours, theirs in zip(derainer(planes), eager(planes), strict=True):
        assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


@names
def test_streams_in_a_batch_are_those_alone(name: str) -> None:
    runtime = open_runtime(name)
    clips = [list(rainy_frames(4, HEIGHT, WIDTH, seed)) for seed in (1, 2)]
    both = runtime.initial_state(2, HEIGHT, WIDTH)
    alone = [runtime.initial_state(1, HEIGHT, WIDTH) for _ in clips]
    for pair in zip(*clips, strict=True):
        found, both = runtime.step(torch.cat(pair), both)
        for index, frame in enumerate(pair):
            expected, alone[index] = runtime.step(frame, alone[index])
            torch.testing.assert_close(found[index : index + 1], expected, atol=0.02, rtol=0)


@names
@pytest.mark.parametrize("streams", [1, 4, 16])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("model", ["stream-nano", "stream"])
def test_frames_a_second(name: str, model: str, size: str, streams: int,
                         record_property: Callable[[str, object], None]) -> None:  # fmt: skip
    if size == "4K" and streams == 16 and torch.cuda.get_device_properties(0).total_memory < 40e9:
        pytest.skip("16 streams of 4K want a card of 40 GB")
    runtime = open_runtime(name, model=model)
    torch.cuda.reset_peak_memory_stats()
    session = runtime.prepare(StepSpec(streams, *SIZES[size]))
    pictures = [torch.randint_like(t, 16, 236) for t in session.sets.pictures]
    state: MembraneState = session.spec.zeros(runtime._network)
    for _ in range(5):
        _, state = session.step(pictures, state)
    torch.cuda.synchronize()
    steps, began = 50, time.perf_counter()
    for _ in range(steps):
        _, state = session.step(pictures, state)
    torch.cuda.synchronize()
    fps = steps * streams / (time.perf_counter() - began)
    gigabytes = torch.cuda.max_memory_allocated() / 1e9
    figures = f"{fps:.0f} fps, {gigabytes:.2f} GB of PyTorch's"
    record_property("figures", figures)
    print(f"{torch.cuda.get_device_name()}: {name} {model} {size} ×{streams} fp16: {figures}")
    assert fps > 0


@pytest.mark.skipif(not codec_devices.has_nvdec(), reason="no NVDEC here")
@pytest.mark.skipif(not codec_devices.has_encoder("h264_nvenc"), reason="no NVENC here")
def test_a_job_decoded_and_encoded_by_the_gpu(derain: Derain, tmp_path: Path) -> None:
    make_clip(tmp_path / "in.mp4", frames=30, width=320, height=240)
    devices = ("--decode-device", "nvdec", "--encode-device", "nvenc")
    done = derain("run", "in.mp4", "out.mp4", "--model", "identity", "--quiet", *devices, timeout=120)
    assert done.returncode == 0, done.stderr
    assert facts(tmp_path / "out.mp4").pts == facts(tmp_path / "in.mp4").pts
