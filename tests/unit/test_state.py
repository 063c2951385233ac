"""MembraneState: order, bytes, stacking."""

import pytest
import torch

from esdnet.errors import ModelError
from esdnet.state import MembraneState


def state(streams: int = 1, width: int = 5) -> MembraneState:
    return MembraneState({"z": torch.randn(streams, 2, 4, width), "a": torch.randn(streams, 1, 1, 1).half()})


def same(a: MembraneState, b: MembraneState) -> bool:
    return a.names == b.names and all(torch.equal(a[n], b[n]) and a[n].dtype == b[n].dtype for n in a)


def test_bytes_and_back_bit_for_bit_and_in_order() -> None:
    before = state(2)
    assert same(MembraneState.from_bytes(before.to_bytes()), before)


@pytest.mark.parametrize("data", [b"", b"no state", b"\xff" * 64])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="not a membrane state"):
        MembraneState.from_bytes(data)


def test_stack_and_split() -> None:
    singles = [state() for _ in range(3)]
    stacked = MembraneState.stack(singles)
    assert stacked.streams == 3
    assert all(same(a, b) for a, b in zip(stacked.split(), singles, strict=True))


def test_split_streams_own_their_memory() -> None:
    stacked = MembraneState.stack([state(), state()])
    first = stacked.split()[0]
    first["z"].zero_()
    assert stacked["z"][0].abs().sum() > 0


@pytest.mark.parametrize("other", [state(width=6), MembraneState({"b": torch.zeros(1)})])
def test_states_that_do_not_fit_are_refused(other: MembraneState) -> None:
    with pytest.raises(ModelError, match="cannot be stacked"):
        MembraneState.stack([state(), other])


def test_reset_of_some_streams() -> None:
    after = state(3).reset(torch.tensor([True, False, True]))
    assert after["z"].flatten(1).abs().sum(1).bool().tolist() == [False, True, False]
    assert not any(t.any() for t in state(2).reset().tensors())
