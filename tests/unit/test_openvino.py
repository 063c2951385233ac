"""The OpenVINO runtime: planes, batches, streams; its graphs on disk; what happens without it."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from esdnet import Derainer, MembraneState
from esdnet.checkpoint import save
from esdnet.errors import ModelError
from esdnet.runtimes import choose_runtime, graph_cache, open_runtime
from esdnet.runtimes.openvino import KEPT_GRAPHS, OpenvinoRuntime, plugins_own_precision
from esdnet.streaming import StreamConfig, StreamNet
from tests.parity import Plane, frames_of, packed, psnr, share_that_differs

pytest.importorskip("openvino", reason="the extra `openvino` is not installed")

HEIGHT, WIDTH = 24, 40


@pytest.fixture(scope="module")
def network() -> StreamNet:
    """Small, firing, with something to remove, and without the motion search, which takes the compiler longest."""
    torch.manual_seed(0)
    net = StreamNet(StreamConfig(dims=(8, 8, 16), encoder_blocks=(0, 1, 1), decoder_blocks=(0, 0), align=False))
    torch.nn.init.normal_(net.head.weight, std=0.003)
    torch.nn.init.kaiming_uniform_(net.stem.weight)
    return net.eval()


@pytest.fixture(scope="module")
def weights(network: StreamNet, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save(network, path, {})
    return str(path)


@pytest.fixture(scope="module")
def clip() -> list[list[Plane]]:
    return frames_of(HEIGHT, WIDTH, 80)


def test_planes_and_tensors_go_the_same_way(network: StreamNet, weights: str, clip: list[list[Plane]]) -> None:
    """Packing and rounding inside the graph are what they are outside of it."""
    derainer, runtime = Derainer(weights, runtime="openvino", threads=1), open_runtime("openvino", network, threads=1)
    state = runtime.initial_state(1, HEIGHT // 2, WIDTH // 2)
    for planes in clip[:10]:
        out = derainer(planes)
        picture, state = runtime.step(packed(planes), state)
        luma = torch.nn.functional.pixel_shuffle(picture[:, :4], 2)[0, 0] * 219 + 16
        assert psnr(luma.round().clamp(0, 255), out[0], 255) >= 50
    kept = derainer.state
    assert kept is not None
    assert share_that_differs(kept, state) < 0.1


def test_streams_in_a_batch_are_as_alone(network: StreamNet, clip: list[list[Plane]]) -> None:
    runtime = open_runtime("openvino", network, threads=1)
    states = [runtime.initial_state(1, HEIGHT // 2, WIDTH // 2) for _ in range(3)]
    for index in range(4):
        frames = [packed(clip[index + 20 * stream]) for stream in range(3)]
        together, batched = runtime.step(torch.cat(frames), MembraneState.stack(states))
        alone = [runtime.step(frame, state) for frame, state in zip(frames, states, strict=True)]
        for stream, (picture, after) in enumerate(alone):
            assert psnr(together[stream], picture[0], 1.0) >= 90
            assert share_that_differs(batched.split()[stream], after) < 0.02
        states = [after for _, after in alone]


def test_a_step_changes_neither_its_inputs_nor_what_it_gave_before(network: StreamNet, clip: list[list[Plane]]) -> None:
    runtime = open_runtime("openvino", network, threads=1)
    frame, state = packed(clip[0]), runtime.initial_state(1, HEIGHT // 2, WIDTH // 2)
    first, after = runtime.step(frame, state)
    kept = [first.clone(), *(tensor.clone() for tensor in after.tensors())]
    runtime.step(packed(clip[1]), after)
    assert all(torch.equal(a, b) for a, b in zip(kept, [first, *after.tensors()], strict=True))
    assert all(not tensor.any() for tensor in state.tensors())


def test_a_stream_moves_between_runtimes_and_processes(weights: str, clip: list[list[Plane]]) -> None:
    here, there = (Derainer(weights, runtime="openvino", threads=1) for _ in range(2))
    for planes in clip[:3]:
        here(planes)
    state = here.state
    assert state is not None
    there.state = MembraneState.from_bytes(state.to_bytes())
    assert all(np.array_equal(a, b) for a, b in zip(here(clip[3]), there(clip[3]), strict=True))
    eager = Derainer(weights, runtime="eager")
    eager.state = state
    assert psnr(eager(clip[3])[0], _at(weights, state)(clip[3])[0], 255) >= 60


def _at(weights: str, state: MembraneState) -> Derainer:
    derainer = Derainer(weights, runtime="openvino", threads=1)
    derainer.state = state
    return derainer


@pytest.mark.parametrize(("height", "width", "full_range"), [(1, 1, False), (17, 19, True)])
def test_odd_sizes_come_out_as_they_went_in(tmp_path: Path, height: int, width: int, full_range: bool) -> None:
    """A network that removes nothing shows that padding, packing and rounding are undone to the bit."""
    net = StreamNet(
        StreamConfig(dims=(8, 8, 8), encoder_blocks=(0, 0, 0), decoder_blocks=(0, 0), align=False, carry_picture=False)
    )
    torch.nn.init.zeros_(net.head.weight)
    torch.nn.init.zeros_(net.head.bias)  # type: ignore[arg-type]
    save(net, tmp_path / "silent.safetensors", {})
    derainer = Derainer(str(tmp_path / "silent.safetensors"), runtime="openvino", threads=1)
    rng = np.random.default_rng(1)
    shapes = [(height, width), *[((height + 1) // 2, (width + 1) // 2)] * 2]
    for _ in range(2):
        planes = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
        for plane in planes:
            plane.flags.writeable = False  # as those that came over a socket are
        assert all(np.array_equal(a, b) for a, b in zip(derainer(planes, full_range), planes, strict=True))


def test_kinds_of_frames_in_turn_share_one_memory(weights: str, clip: list[list[Plane]]) -> None:
    """Planes keep their membranes inside the runtime, grey pictures outside: neither forgets what the other saw."""
    derainer, eager = Derainer(weights, runtime="openvino", threads=1), Derainer(weights, runtime="eager")
    for index, planes in enumerate(clip[:6]):
        frame: Any = planes if index % 2 else planes[0]
        out, expected = derainer(frame), eager(frame)
        assert psnr(out[0], expected[0], 255) >= 45
    derainer.reset()
    assert derainer.state is None
    fresh = Derainer(weights, runtime="openvino", threads=1)
    assert np.array_equal(derainer(clip[0])[0], fresh(clip[0])[0])


def test_a_state_that_does_not_fit_is_refused(network: StreamNet) -> None:
    runtime = open_runtime("openvino", network, threads=1)
    with pytest.raises(ModelError, match="number of streams"):
        runtime.step(torch.zeros(2, 6, 12, 20), runtime.initial_state(1, 12, 20))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DERAIN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "openvino"


def no_building(*_: object) -> None:
    raise AssertionError("built again")


def test_a_graph_is_built_once_and_again_when_damaged(
    network: StreamNet, own_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    frame = torch.rand(1, 6, 8, 8)

    def step() -> torch.Tensor:
        runtime = OpenvinoRuntime(network, threads=1)
        return runtime.step(frame, runtime.initial_state(1, 8, 8))[0]

    first = step()
    (kept,) = own_cache.iterdir()
    assert kept.stat().st_mode & 0o077 == 0 or own_cache.stat().st_mode & 0o077 == 0
    with monkeypatch.context() as patch:
        patch.setattr(OpenvinoRuntime, "_convert", no_building)
        assert torch.equal(step(), first)
    kept.write_bytes(kept.read_bytes()[:-100])
    assert torch.equal(step(), first)
    assert "damaged" in caplog.text
    assert list(own_cache.iterdir()) == [kept]
    with monkeypatch.context() as patch:
        patch.setattr(OpenvinoRuntime, "_convert", no_building)
        assert torch.equal(step(), first)


def test_other_weights_or_code_make_another_graph(network: StreamNet, monkeypatch: pytest.MonkeyPatch) -> None:
    import copy

    other = copy.deepcopy(network)
    with torch.no_grad():
        other.head.weight[0, 0, 0, 0] += 1e-3
    prints = {OpenvinoRuntime(net, threads=threads)._fingerprint() for net in (network, other) for threads in (1, 2)}
    monkeypatch.setattr(graph_cache, "code_fingerprint", lambda: "other code")
    prints.add(OpenvinoRuntime(network, threads=1)._fingerprint())
    assert len(prints) == 5


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no processor affinity on this system")
def test_a_graph_made_on_one_core_is_not_taken_on_two(network: StreamNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was compiled under `taskset -c 0` kept to one thread in every later run."""
    prints = set()
    for cores in ({0}, {0, 1}):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _process, cores=cores: cores)
        prints.add(OpenvinoRuntime(network, threads=2)._fingerprint())
    assert len(prints) == 2


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DERAIN_CACHE", str(tmp_path / "file"))
    graph_cache.write("openvino", "key", b"graph")
    assert graph_cache.read("openvino", "key") is None


def test_old_graphs_make_room(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_cache, "KEPT", 3)
    for index in range(6):
        graph_cache.write("openvino", str(index), b"graph")
        os.utime(own_cache / f"{index}.blob", (index, index))
    assert sorted(path.stem for path in own_cache.iterdir()) == ["3", "4", "5"]


def test_few_shapes_are_kept_in_memory(network: StreamNet, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = OpenvinoRuntime(network, threads=1)
    monkeypatch.setattr(runtime, "_convert", lambda *_: _Compiled())
    monkeypatch.setattr(runtime, "_import", lambda *_: None)
    monkeypatch.setattr(graph_cache, "write", lambda *_: None)
    for index in range(KEPT_GRAPHS + 3):
        runtime._compile(("packed", index), lambda: (torch.nn.Identity(), ()))
    assert [key[1] for key in runtime._compiled] == list(range(3, KEPT_GRAPHS + 3))


class _Compiled:
    def export_model(self) -> Any:
        import io

        return io.BytesIO(b"")


def test_without_the_package_auto_is_eager_and_says_so(network: StreamNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    choice = choose_runtime("auto", network)
    assert choice.runtime.name == "eager"
    assert "pip install 'derain[openvino]'" in choice.note
    assert "\n" not in choice.note
    with pytest.raises(ModelError, match=r"pip install 'derain\[openvino\]'"):
        choose_runtime("openvino", network)
    assert choose_runtime("eager", network).note == ""


def test_auto_takes_it(network: StreamNet) -> None:
    choice = choose_runtime("auto", network, threads=1)
    expected = "openvino_bf16" if plugins_own_precision() == "bf16" else "openvino"
    assert (choice.runtime.name, choice.note) == (expected, "")


def test_nothing_is_reported_to_anyone(tmp_path: Path) -> None:
    """OpenVINO's telemetry package writes an identity into the home folder and reports as soon as it is imported."""
    script = "from esdnet.runtimes.openvino import import_openvino; import sys; print(import_openvino().__name__, " \
        "sys.modules.get('openvino_telemetry', 'absent'))"  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"HOME": str(tmp_path)}, capture_output=True, text=True,
        cwd=Path(__file__).parents[2], timeout=100,
    )  # fmt: skip
    assert done.stdout.split() == ["openvino", "None"], done.stderr
    assert not (tmp_path / "intel").exists()


class _SignalStack(ctypes.Structure):
    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@pytest.mark.skipif(sys.platform != "linux", reason="OpenVINO sets a signal stack on Linux alone")
def test_runtimes_that_come_and_go_leave_the_signal_stack_alone(network: StreamNet) -> None:
    """Each runtime had a core of its own. Dropped in the order in which they were made, they left an alternate signal
    stack in place that had been freed, and the whole suite died of SIGSEGV at the next SIGCHLD, without a word."""

    def stack() -> int | None:
        found = _SignalStack()
        assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found)) == 0
        address: int | None = found.address
        return address

    made = [OpenvinoRuntime(network) for _ in range(3)]
    before = stack()
    while made:
        made.pop(0)
        gc.collect()
    assert stack() == before
    assert OpenvinoRuntime(network)._core is OpenvinoRuntime(network)._core
