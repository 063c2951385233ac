"""Many streams through one network: each gets what it would get alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from esdnet import Derainer
from esdnet.batch import BatchDerainer
from esdnet.checkpoint import save
from esdnet.errors import ModelError
from esdnet.models import load
from esdnet.network import ESDNet, EsdnetConfig

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


class _ByShape:
    """Eager with a note of the shapes it was given, as a runtime that compiles for each of them."""

    name, compiles_by_shape = "by-shape", True

    def __init__(self) -> None:
        from esdnet.runtimes import open_runtime
        from esdnet.streaming import StreamNet

        network = load("stream-nano")
        assert isinstance(network, StreamNet)
        self.real = open_runtime("eager", network)
        self.shapes: list[int] = []

    def initial_state(self, streams: int, height: int, width: int) -> object:
        return self.real.initial_state(streams, height, width)

    def step(self, frame: object, state: object) -> object:
        self.shapes.append(frame.shape[0])  # type: ignore[attr-defined]
        return self.real.step(frame, state)  # type: ignore[arg-type]


def test_a_runtime_that_compiles_by_shape_sees_few_batch_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = _ByShape()
    monkeypatch.setattr("esdnet.derainer.open_runtime", lambda *_, **__: runtime)
    batch = BatchDerainer("stream-nano")
    lanes = [batch.open() for _ in range(7)]
    alone = Derainer("stream-nano", runtime="eager")
    for count in (7, 5, 3, 1):
        out = together(batch, lanes[:count], [planes(stream, 0) for stream in range(count)])
        assert len(out) == count
    assert runtime.shapes == [8, 8, 4, 1]
    alone.reset()
    assert out[0][0].shape == (48, 64)


def test_a_network_for_pictures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "picture.safetensors"
    net = ESDNet(EsdnetConfig(dim=8, encoder_blocks=(1, 1, 1), level3_decoder_blocks=1, decoder_blocks=(1, 1)))
    save(net, path, {})
    with pytest.raises(ModelError, match="single pictures"):
        BatchDerainer(str(path))
