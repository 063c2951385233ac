"""What can be known of the TensorRT runtime without a GPU: `make test-tensorrt`, in an environment of its own.

The step of the shipped models is exported, lowered by Torch-TensorRT, run by PyTorch, partitioned and, with
TensorRT-RTX, built ahead of time for a GPU that is not there. Nothing here runs an engine.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
import torch

from esdnet.errors import ModelError
from esdnet.models import load
from esdnet.runtimes import half_body
from esdnet.runtimes.eager import EagerRuntime
from esdnet.runtimes.step_spec import StepSpec
from esdnet.streaming import StreamNet
from tests.streams import rainy_frames
from tests.tensorrt import without_gpu

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(find_spec("torch_tensorrt") is None, reason="Torch-TensorRT is not here: make test-tensorrt"),
]

FRAMES = 100
HEIGHT, WIDTH = 96, 128  # of pictures; in smaller ones a single spike more or less is 42 dB


@pytest.fixture(scope="module")
def build() -> Any:
    """`esdnet.runtimes.engine_build`, on a machine that may have no GPU."""
    without_gpu.pretend()
    from esdnet.runtimes import engine_build

    engine_build.import_torch_tensorrt()
    return engine_build


class Lowered:
    """A shipped model's step in one precision: exported and lowered once for all tests."""

    def __init__(self, build: Any, model: str, precision: torch.dtype, planes: bool) -> None:
        network = load(model)
        assert isinstance(network, StreamNet)
        self.original = network
        self.network = half_body.with_body(network, precision)
        self.spec = StepSpec(1, HEIGHT, WIDTH) if planes else StepSpec(1, HEIGHT // 2, WIDTH // 2, planes=False)
        self.exported = self.spec.export(self.network)
        self.graph = build.lower(self.exported)
        self.zeros = self.spec.zeros(self.network)
        self.example = (*self.spec.pictures(), *self.zeros.tensors())


@pytest.fixture(scope="module", params=["stream-nano", "stream"])
def planes(request: pytest.FixtureRequest, build: Any) -> Lowered:
    """The step from 8-bit planes to 8-bit planes, body in half precision: what `derain run` would build."""
    return Lowered(build, request.param, torch.float16, planes=True)


@pytest.fixture(scope="module")
def packed(build: Any) -> Lowered:
    return Lowered(build, "stream-nano", torch.float32, planes=False)


def test_state_goes_in_and_out_and_no_buffer_is_changed(planes: Lowered) -> None:
    signature = planes.exported.graph_signature
    assert len(planes.zeros) > 5
    assert len(signature.user_inputs) == len(signature.user_outputs) == 3 + len(planes.zeros)
    assert not signature.buffers_to_mutate
    assert not signature.user_inputs_to_mutate


def test_every_operation_has_a_converter_and_they_make_one_engine(build: Any, planes: Lowered) -> None:
    from torch_tensorrt.dynamo.partitioning import fast_partition

    assert build.without_converter(planes.graph) == []
    parts, _ = fast_partition(planes.graph, min_block_size=1, require_full_compilation=False)
    children = [name for name, _ in parts.named_children()]
    assert [name for name in children if "_run_on_acc" in name] == ["_run_on_acc_0"]
    assert not [name for name in children if "_run_on_gpu" in name]


def test_an_operation_without_a_converter_is_noticed(build: Any) -> None:
    class Strange(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.bessel_j0(x) + 1

    example = (torch.zeros(1, 4),)
    exported = torch.export.export(Strange(), example)
    assert build.without_converter(build.lower(exported)) == ["aten.special_bessel_j0.default"]
    with pytest.raises(ModelError, match=r"no converter for aten\.special_bessel_j0"):
        build.build(exported, example)


def test_the_lowered_step_is_the_exported_one(planes: Lowered) -> None:
    state = list(planes.zeros.tensors())
    module = planes.spec.module(planes.network, exact_floats=True)
    generator = torch.Generator().manual_seed(0)
    for _ in range(6):
        pictures = [torch.randint(16, 236, t.shape, generator=generator, dtype=torch.uint8) for t in planes.example[:3]]
        with torch.no_grad():
            found, expected = (step(*pictures, *state) for step in (planes.graph, module))
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1.0 if ours is found[0] else 2e-2, rtol=2e-2)
        assert all(float(plane.round().sub(plane).abs().max()) == 0 for plane in found[:3]), "whole numbers"
        state = list(expected[3:])


def test_the_lowered_step_follows_eager_over_frames_and_resets(packed: Lowered) -> None:
    eager = EagerRuntime(packed.original)
    theirs = eager.initial_state(1, HEIGHT // 2, WIDTH // 2)
    ours = list(packed.zeros.tensors())
    # Rounding lets a spike at the edge of its threshold flip now and then, and the picture takes some frames to forget
    # it: so a step is judged from the same membranes, and where the graph goes its own way the bound is a wide one.
    steps, apart = [], []
    for number, frame in enumerate(rainy_frames(FRAMES, HEIGHT // 2, WIDTH // 2)):
        if number in (33, 70):
            ours, theirs = [torch.zeros_like(t) for t in ours], theirs.reset()
        with torch.no_grad():
            step, *_ = packed.graph(frame, *theirs.tensors())
            found, *ours = packed.graph(frame, *ours)
        expected, theirs = eager.step(frame, theirs)
        steps.append(float((step - expected).square().mean()))
        apart.append(float((found - expected).square().mean()))
    assert sum(steps) / FRAMES <= 1e-7, "70 dB"
    assert sorted(steps)[FRAMES * 3 // 4] <= 1e-10, "100 dB in most frames"
    assert max(apart) <= 3e-5, "45 dB"
    assert all(bool(tensor.any()) for tensor in ours)


def test_tensorrt_rtx_builds_the_engine_ahead_of_time(build: Any, planes: Lowered) -> None:
    import tensorrt

    if getattr(tensorrt, "_package_name", "") != "tensorrt_rtx":
        pytest.skip("this TensorRT builds for the GPU at hand only")
    told: list[str] = []
    engine = build.build(planes.exported, planes.example, say=told.append, capability=without_gpu.CAPABILITY)
    weights = sum(p.numel() for p in planes.network.parameters()) * 2
    assert len(engine) > weights / 2
    assert engine != bytes(len(engine))
