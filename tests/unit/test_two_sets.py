"""The runner of the GPU runtimes, on the processor: all of it but the launch is the same there."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from esdnet.errors import ModelError
from esdnet.models import load
from esdnet.runtimes import half_body
from esdnet.runtimes.cuda_graph import in_place
from esdnet.runtimes.eager import EagerRuntime
from esdnet.runtimes.graph_runtime import GraphRuntime
from esdnet.runtimes.step_spec import StepSpec
from esdnet.runtimes.two_sets import Launch, TwoSets
from esdnet.state import MembraneState
from esdnet.streaming import StreamConfig, StreamNet
from tests.streams import rainy_frames

HEIGHT, WIDTH = 24, 32  # of packed frames


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums shared out among threads differ from machine to machine, and with them the neurons at their threshold."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class OnProcessor(GraphRuntime):
    """The step by PyTorch itself, from and to the fixed addresses."""

    name = "on_processor"

    def __init__(self, network: StreamNet, precision: str = "fp32", *, wrong: bool = False) -> None:
        super().__init__(network, torch.device("cpu"), precision)
        self._wrong = wrong

    def _launcher(self, spec: StepSpec, sets: TwoSets, stream: torch.cuda.Stream | None) -> Launch:
        step = in_place(spec.module(self._network))

        def launch(turn: int) -> None:
            after = sets.sets[turn if self._wrong else 1 - turn]  # wrong: the turns are mixed up
            step(sets.pictures, sets.sets[turn], sets.derained, after)

        return launch


@pytest.fixture(scope="module")
def network() -> StreamNet:
    net = load("stream-nano")
    assert isinstance(net, StreamNet)
    return net


@pytest.fixture(scope="module")
def runner(network: StreamNet) -> OnProcessor:
    return OnProcessor(network)


@pytest.fixture(scope="module")
def eager(network: StreamNet) -> EagerRuntime:
    return EagerRuntime(network)


def frames(count: int, seed: int = 0) -> Iterator[Tensor]:
    return rainy_frames(count, HEIGHT, WIDTH, seed)


def test_a_hundred_frames_with_resets_are_those_of_the_step_itself(runner: OnProcessor, network: StreamNet) -> None:
    """Of the same arithmetic: in another, a neuron at its threshold fires one spike more or less now and then."""
    body = EagerRuntime(network)
    body._network = half_body.with_body(network, torch.float32)
    ours, theirs = (r.initial_state(1, HEIGHT, WIDTH) for r in (runner, body))
    for number, frame in enumerate(frames(100)):
        if number in (1, 40, 41):  # once on each turn
            ours, theirs = ours.reset(), theirs.reset()
        found, ours = runner.step(frame, ours)
        expected, theirs = body.step(frame, theirs)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert all(bool(ours[name].abs().sum() > 0) for name in ours), "membranes moved"


def test_steps_from_the_same_membranes_are_those_of_eager(runner: OnProcessor, eager: EagerRuntime) -> None:
    """At 70 dB each, at the size at which speed is told: a single spike more or less is 67 dB in a frame of 48×64 and
    was 68 in one of 192×256."""
    height, width = 352, 640
    state = eager.initial_state(1, height, width)
    for number, frame in enumerate(rainy_frames(20, height, width)):
        state = state.reset() if number == 10 else state
        found, _ = runner.step(frame, state)
        expected, state = eager.step(frame, state)
        assert float((found - expected).square().mean()) <= 1e-7, number


def test_the_step_is_pure_whatever_is_held(runner: OnProcessor) -> None:
    first, second, third = frames(3)
    zero = runner.initial_state(1, HEIGHT, WIDTH)
    _, early = runner.step(first, zero)
    before = {name: early[name] for name in early}
    once, later = runner.step(second, early)
    again, _ = runner.step(second, early)
    for frame in (third, first, second):
        _, later = runner.step(frame, later)
    assert torch.equal(once, again)
    assert all(torch.equal(early[name], before[name]) for name in early)
    assert torch.equal(runner.step(second, early)[0], once)
    assert all(not bool(zero[name].any()) for name in zero)


def test_stepping_on_copies_no_membrane(runner: OnProcessor, monkeypatch: pytest.MonkeyPatch) -> None:
    state: MembraneState = runner.initial_state(1, HEIGHT, WIDTH)
    given = list(frames(6))
    _, state = runner.step(given[0], state)
    monkeypatch.setattr(TwoSets, "_take_in", lambda *_: pytest.fail("a state was copied in"))
    monkeypatch.setattr("esdnet.runtimes.two_sets.LentState.settle", lambda *_: pytest.fail("a state was copied out"))
    for frame in given[1:]:
        _, state = runner.step(frame, state)


def test_streams_in_a_batch_are_those_alone(runner: OnProcessor, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a hair. oneDNN convolves a picture of a batch otherwise than one alone (3e-6 apart behind the stem): with one
    set of weights no neuron was at its threshold, with the next one was, and fired once more. So PyTorch's own
    convolutions are used."""
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    clips = [list(frames(4, seed)) for seed in (1, 2)]
    both = runner.initial_state(2, HEIGHT, WIDTH)
    alone = [runner.initial_state(1, HEIGHT, WIDTH) for _ in clips]
    for pair in zip(*clips, strict=True):
        found, both = runner.step(torch.cat(pair), both)
        for index, frame in enumerate(pair):
            expected, alone[index] = runner.step(frame, alone[index])
            torch.testing.assert_close(found[index : index + 1], expected, atol=1e-5, rtol=0)
    moved = MembraneState.stack(both.split()[::-1])
    swapped, _ = runner.step(torch.cat([clips[1][0], clips[0][0]]), moved)
    straight, _ = runner.step(torch.cat([clips[0][0], clips[1][0]]), both)
    torch.testing.assert_close(swapped.flip(0), straight, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width", "full_range"), [(48, 64, False), (34, 51, True)])
def test_planes_are_those_of_eager(network: StreamNet, height: int, width: int, full_range: bool) -> None:
    from esdnet.plane_step import PlaneStep
    from esdnet.planes import FULL, LIMITED

    runtime = OnProcessor(network)
    stream, other = (runtime.open_stream(height, width, full_range=full_range) for _ in range(2))
    reference = PlaneStep(half_body.with_body(network, torch.float32), height, width, FULL if full_range else LIMITED)
    spec = StepSpec(1, height, width, full_range=full_range)
    state = list(spec.zeros(reference.network).tensors())
    generator = torch.Generator().manual_seed(3)
    for number in range(5):
        planes = [torch.randint(0, 256, t.shape, generator=generator, dtype=torch.uint8) for t in spec.pictures()]
        with torch.no_grad():
            expected = reference(*planes, *state)
        state = list(expected[3:])
        arrays = [plane[0, 0].numpy() for plane in planes]
        found = stream.step(arrays)
        for ours, theirs in zip(found, expected[:3], strict=True):
            assert int((torch.from_numpy(ours).int() - theirs[0, 0].int()).abs().max()) <= 1
        if number == 2:  # moved to another stream; the two then go on alike
            other.put_state(MembraneState.from_bytes(stream.take_state().to_bytes()))
        if number > 2:
            assert all((a == b).all() for a, b in zip(other.step(arrays), found, strict=True))


def test_half_precision_keeps_the_picture_and_states_move_to_eager(network: StreamNet, eager: EagerRuntime) -> None:
    height, width = 64, 96
    runtime = OnProcessor(network, "fp16")
    ours, theirs = runtime.initial_state(1, height, width), eager.initial_state(1, height, width)
    assert {ours[name].dtype for name in ours} == {torch.float16, torch.float32}
    error, count = 0.0, 24
    *frames, after = rainy_frames(count + 1, height, width, 0)
    for frame in frames:
        found, ours = runtime.step(frame, ours)
        expected, theirs = eager.step(frame, theirs)
        error += float((found - expected).square().mean()) / count
    assert error < 1e-5, "50 dB"
    moved, _ = eager.step(after, MembraneState.from_bytes(ours.to_bytes()))
    torch.testing.assert_close(moved, runtime.step(after, ours)[0], atol=0.05, rtol=0)


def test_a_step_that_computes_wrongly_is_refused(network: StreamNet) -> None:
    leaning = copy.deepcopy(network)  # on its past, or mixing up the membranes would hardly show
    with torch.no_grad():
        leaning.head.bias[-2:] = 6.0
    with pytest.raises(ModelError, match="differs from eager"):
        OnProcessor(leaning, wrong=True).step(next(frames(1)), network.initial_state(1, HEIGHT, WIDTH))


def test_states_that_do_not_fit_are_refused(runner: OnProcessor) -> None:
    with pytest.raises(ModelError, match="another network, frame size or number of streams"):
        runner.step(next(frames(1)), runner.initial_state(2, HEIGHT, WIDTH))
    with pytest.raises(ModelError, match="another network or frame size"):
        runner.open_stream(32, 32, full_range=False).put_state(runner.initial_state(1, HEIGHT, WIDTH))
    with pytest.raises(ModelError, match="unknown precision"):
        OnProcessor(StreamNet(StreamConfig(dims=(4, 4, 4))), "bf8")


def test_the_exported_step_has_the_state_as_inputs_and_outputs() -> None:
    spec = StepSpec(2, 32, 40)  # a small network: the shipped ones are exported by `make test-tensorrt`
    small = StreamNet(StreamConfig(dims=(4, 4, 4), encoder_blocks=(0, 0, 1), decoder_blocks=(0, 0), align=False))
    half = half_body.with_body(small, torch.float16)
    exported = spec.export(half)
    states = len(spec.zeros(half))
    assert states > 1
    assert len(exported.graph_signature.user_inputs) == len(exported.graph_signature.user_outputs) == 3 + states
    assert not exported.graph_signature.buffers_to_mutate
