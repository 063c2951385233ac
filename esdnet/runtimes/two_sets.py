"""TwoSets: the memory of a compiled step that cannot write over what it reads: two sets of membranes, used in turn.

Turn 0 reads set 0 and writes set 1, turn 1 the reverse, each from and to fixed addresses, so that each turn can be one
captured CUDA graph. To its caller the step is pure all the same. A state that is handed out is a loan of one set; when
that set is about to be written over and somebody still holds the loan, its values are first copied elsewhere. Who steps
frame by frame drops the older state in time, and nothing is ever copied.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from esdnet.errors import ModelError
from esdnet.state import MembraneState

Launch = Callable[[int], None]
"""Carries out turn 0 or 1, in stream order: pictures and set `turn` → derained and set ``1 - turn``."""


class LentState(MembraneState):
    """A state whose tensors lie in one of the two sets until they are needed there."""

    __slots__ = ("__weakref__",)

    def detach(self) -> MembraneState:
        return self.copied()

    def with_tensors(self, tensors: Sequence[Tensor]) -> MembraneState:
        own = {id(tensor) for tensor in self._tensors.values()}
        return super().with_tensors([tensor.clone() if id(tensor) in own else tensor for tensor in tensors])

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(tensor.clone() for tensor in self._tensors.values())

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name].clone()

    def copied(self) -> MembraneState:
        return MembraneState({name: tensor.clone() for name, tensor in self._tensors.items()})

    def settle(self) -> None:
        """Move out of the set into memory of its own."""
        self._tensors = {name: tensor.clone() for name, tensor in self._tensors.items()}


class TwoSets:
    """Pictures in, derained pictures and two sets of membranes, at fixed addresses on one device.

    ``pictures`` and ``zeros`` give the shapes and dtypes; derained pictures have those of the pictures.
    """

    def __init__(self, pictures: Sequence[Tensor], zeros: MembraneState, device: torch.device) -> None:
        self.pictures = [torch.zeros(t.shape, dtype=t.dtype, device=device) for t in pictures]
        self.derained = [torch.zeros(t.shape, dtype=t.dtype, device=device) for t in pictures]
        self.sets = [[torch.zeros(t.shape, dtype=t.dtype, device=device) for t in zeros.tensors()] for _ in range(2)]
        self._names = zeros.names
        self._lent: list[weakref.ref[LentState] | None] = [None, None]
        self._turn = 0

    def step(self, launch: Launch, pictures: Sequence[Tensor], state: MembraneState) -> LentState:
        """Fills `derained` from pictures and state; the new state. ModelError where the state does not fit."""
        turn = next((index for index in (0, 1) if self._borrower(index) is state), None)
        if turn is None:
            turn = self._turn
            self._take_in(state, turn)
        self._settle(1 - turn)
        for held, given in zip(self.pictures, pictures, strict=True):
            held.copy_(given, non_blocking=True)
        launch(turn)
        self._turn = 1 - turn
        return self._lend(1 - turn)

    def _take_in(self, state: MembraneState, turn: int) -> None:
        given = state.tensors()
        held = self.sets[turn]
        if state.names != self._names or [t.shape for t in given] != [t.shape for t in held]:
            raise ModelError("the state is of another network, frame size or number of streams than the frames")
        self._settle(turn)
        for here, there in zip(held, given, strict=True):
            here.copy_(there)

    def _lend(self, index: int) -> LentState:
        state = LentState(dict(zip(self._names, self.sets[index], strict=True)))
        self._lent[index] = weakref.ref(state)
        return state

    def _borrower(self, index: int) -> LentState | None:
        loan = self._lent[index]
        return loan() if loan else None

    def _settle(self, index: int) -> None:
        """Set `index` is about to be written over."""
        if borrower := self._borrower(index):
            borrower.settle()
        self._lent[index] = None
