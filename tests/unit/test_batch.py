"""Many streams through one network: each gets what it would get alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from esdnet import Derainer
from esdnet.batch import BatchDerainer
from esdnet.checkpoint import save
from esdnet.errors import ModelError
from esdnet.network import ESDNet, EsdnetConfig
from esdnet.runtimes.eager import EagerRuntime
from esdnet.state import MembraneState

Planes = list[NDArray[np.uint8]]


def planes(stream: int, index: int, width: int = 64, height: int = 48) -> Planes:
    """A picture that moves with `index`, its own for each stream."""
    rng = np.random.default_rng(stream)
    large = rng.integers(16, 236, (height + 32, width + 32), np.uint8)
    shift = index * (1 + stream % 3)
    return [
        np.ascontiguousarray(large[shift : shift + height, :width]),
        np.full(((height + 1) // 2, (width + 1) // 2), 90 + stream, np.uint8),
        np.full(((height + 1) // 2, (width + 1) // 2), 140 - stream, np.uint8),
    ]


def together(batch: BatchDerainer, lanes: list[Derainer], frames: list[Planes]) -> list[Planes]:
    out = batch.run([partial(lane, frame) for lane, frame in zip(lanes, frames, strict=True)])
    for one in out:
        assert not isinstance(one, Exception), one
    return out  # type: ignore[return-value]


@pytest.fixture
def own_convolutions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """oneDNN convolves a picture of a batch otherwise than one alone (3e-6 apart behind the stem), and NNPACK, which
    would take its place, does only batches of 16 and more. With most weights that rounds a value to its neighbour; with
    some a neuron is at its threshold, and small pictures differ more."""
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    with torch.backends.nnpack.flags(enabled=False):
        yield


@pytest.mark.usefixtures("own_convolutions")
def test_streams_together_give_what_they_give_alone() -> None:
    """Convolutions of a batch add up in another order, so a value may round to the neighbouring one, and no further."""
    batch = BatchDerainer("stream-nano", runtime="eager")
    lanes = [batch.open() for _ in range(5)]
    alone = [Derainer("stream-nano", runtime="eager") for _ in lanes]
    for index in range(4):
        frames = [planes(stream, index) for stream in range(5)]
        for stream, dry in enumerate(together(batch, lanes, frames)):
            wanted = alone[stream](frames[stream])
            for got, want in zip(dry, wanted, strict=True):
                assert np.abs(got.astype(int) - want).max() <= 1
                assert (got != want).mean() < 0.001
    assert (batch.steps, batch.stepped) == (4, 20)


@pytest.mark.usefixtures("own_convolutions")
def test_streams_come_and_go_and_keep_their_own_membranes() -> None:
    """One that came late or was reset must not get another's past."""
    batch = BatchDerainer("stream-nano", runtime="eager")
    early, late = batch.open(), batch.open()
    alone = [Derainer("stream-nano", runtime="eager") for _ in range(2)]
    for index in range(6):
        work, wanted = [partial(early, planes(0, index))], [alone[0](planes(0, index))]
        if index in (2, 3, 5):
            if index == 5:
                late.reset()
                alone[1].reset()
            work.append(partial(late, planes(1, index)))
            wanted.append(alone[1](planes(1, index)))
        for got, want in zip(batch.run(work), wanted, strict=True):
            assert not isinstance(got, Exception)
            assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(got, want, strict=True))
    assert early.state is not None and alone[0].state is not None
    for name in early.state:
        difference = (early.state[name] - alone[0].state[name]).abs()
        assert difference.mean() < 1e-3, name


def test_a_failing_or_resized_stream_leaves_the_others_alone() -> None:
    batch = BatchDerainer("stream-nano", runtime="eager")
    lanes = [batch.open() for _ in range(3)]
    together(batch, lanes, [planes(stream, 0) for stream in range(3)])
    reference = Derainer("stream-nano", runtime="eager")
    reference(planes(0, 0))
    bad = [np.zeros((48, 64), np.uint8), np.zeros((3, 3), np.uint8), np.zeros((3, 3), np.uint8)]
    out = batch.run([partial(lanes[0], planes(0, 1)), partial(lanes[1], bad), partial(lanes[2], planes(2, 1, 96, 32))])
    assert isinstance(out[1], ModelError) and "do not fit" in str(out[1])
    assert not isinstance(out[2], Exception) and out[2][0].shape == (32, 96)
    assert not isinstance(out[0], Exception)
    assert np.abs(out[0][0].astype(int) - reference(planes(0, 1))[0]).max() <= 1


def test_a_runtime_that_compiles_by_shape_sees_few_batch_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[int] = []

    class ByShape(EagerRuntime):
        compiles_by_shape = True

        def step(self, frame: Tensor, state: MembraneState) -> tuple[Tensor, MembraneState]:
            shapes.append(frame.shape[0])
            return super().step(frame, state)

    monkeypatch.setattr("esdnet.runtimes.eager.EagerRuntime", ByShape)
    batch = BatchDerainer("stream-nano", runtime="eager")
    lanes = [batch.open() for _ in range(7)]
    for count in (7, 5, 3, 1):
        out = together(batch, lanes[:count], [planes(stream, 0) for stream in range(count)])
        assert [one[0].shape for one in out] == [(48, 64)] * count
    assert shapes == [8, 8, 4, 1]
    monkeypatch.undo()
    alone = Derainer("stream-nano", runtime="eager")
    for _ in range(3):
        alone(planes(2, 0))
    want = alone(planes(2, 0))  # the empty streams beside it left no trace
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(lanes[2](planes(2, 0)), want, strict=True))


def test_where_a_step_fails_only_the_stream_to_blame_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class Picky(EagerRuntime):
        def step(self, frame: Tensor, state: MembraneState) -> tuple[Tensor, MembraneState]:
            if frame.amax() > 1.05:  # white beyond what the others show
                raise RuntimeError("too bright")
            return super().step(frame, state)

    monkeypatch.setattr("esdnet.runtimes.eager.EagerRuntime", Picky)
    batch = BatchDerainer("stream-nano", runtime="eager")
    bright = planes(1, 0)
    bright[0][:] = 255
    out = batch.run([partial(batch.open(), frame) for frame in (planes(0, 0), bright, planes(2, 0))])
    assert [isinstance(one, RuntimeError) for one in out] == [False, True, False]


def test_where_stacking_does_not_pay_lanes_step_side_by_side_and_nothing_differs() -> None:
    pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    batch = BatchDerainer("stream-nano", runtime="openvino")
    lanes, alone = [batch.open() for _ in range(2)], [Derainer("stream-nano", runtime="openvino") for _ in range(2)]
    for index in range(3):
        frames = [planes(stream, index) for stream in range(2)]
        for dry, one, frame in zip(together(batch, lanes, frames), alone, frames, strict=True):
            assert all(np.array_equal(got, want) for got, want in zip(dry, one(frame), strict=True))
    assert batch.steps == 0


def test_lanes_side_by_side_of_all_kinds_are_as_alone() -> None:
    """Two at a time in threads of their own: planes of two sizes, RGB and grey; alone in between, then beside again."""
    pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    batch = BatchDerainer("stream-nano", runtime="openvino", threads=2)
    lanes, alone = (
        [make() for _ in range(5)]
        for make in (batch.open, lambda: Derainer("stream-nano", runtime="openvino", threads=2))
    )
    for index in range(4):
        shown: list[Any] = [planes(0, index), planes(1, index, 64, 96), planes(2, index), planes(3, index)[0],
                            np.stack([planes(4, index)[0]] * 3, axis=2)]  # fmt: skip
        if index == 2:
            out = [batch.run([partial(lane, frame)])[0] for lane, frame in zip(lanes, shown, strict=True)]
        else:
            out = batch.run([partial(lane, frame) for lane, frame in zip(lanes, shown, strict=True)])
        for got, single, frame in zip(out, alone, shown, strict=True):
            want: Any = single(frame)
            assert not isinstance(got, Exception)
            same = zip(got, want, strict=True) if isinstance(want, list) else [(got, want)]
            assert all(np.array_equal(a, b) for a, b in same)


def test_networks_for_pictures_take_turns(tmp_path: Path) -> None:
    net = ESDNet(EsdnetConfig(dim=8, encoder_blocks=(1, 1, 1), level3_decoder_blocks=1, decoder_blocks=(1, 1)))
    path = tmp_path / "picture.safetensors"
    save(net, path, {})
    batch, alone = BatchDerainer(str(path)), Derainer(str(path))
    frames = [planes(stream, 0, 32, 32) for stream in range(2)]
    for dry, frame in zip(together(batch, [batch.open(), batch.open()], frames), frames, strict=True):
        assert all(np.array_equal(got, want) for got, want in zip(dry, alone(frame), strict=True))
