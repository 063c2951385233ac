"""MembraneState: everything a streaming network remembers between two frames, as ordered, named tensors.

It is data, not behaviour: networks make it (`StreamNet.initial_state`), take it and return a new one. Streams can be
stacked into a batch and split again, and a stream's state can be taken to bytes and back bit for bit, so that it can
move to another process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from esdnet.errors import ModelError


class MembraneState:
    """Ordered mapping name → tensor; the first dimension of every tensor is the stream (N)."""

    __slots__ = ("_tensors",)

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._tensors = dict(tensors)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._tensors)

    @property
    def streams(self) -> int:
        """How many streams (N) the state is of; 0 for a network without state."""
        return next((int(t.shape[0]) for t in self._tensors.values()), 0)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors in order, for runtimes that bind state by position."""
        return tuple(self._tensors.values())

    def with_tensors(self, tensors: Sequence[Tensor]) -> MembraneState:
        """The same names with other tensors, by position. ValueError where their number differs."""
        return MembraneState(dict(zip(self._tensors, tensors, strict=True)))

    def detach(self) -> MembraneState:
        return MembraneState({name: t.detach() for name, t in self._tensors.items()})

    def reset(self, streams: Tensor | None = None) -> MembraneState:
        """All zero, or zero for the streams where the boolean tensor `streams` (N,) is true; a new state."""
        if streams is None:
            return MembraneState({name: torch.zeros_like(t) for name, t in self._tensors.items()})
        return MembraneState(
            {
                name: torch.where(streams.view(-1, *[1] * (t.dim() - 1)), torch.zeros_like(t), t)
                for name, t in self._tensors.items()
            }
        )

    @staticmethod
    def stack(states: Sequence[MembraneState]) -> MembraneState:
        """One batch from several streams of one network and size. ModelError where they do not fit."""
        if not states:
            raise ModelError("no states to stack")
        names = states[0].names
        if any(state.names != names for state in states):
            raise ModelError("states of different networks cannot be stacked")
        try:
            return MembraneState({name: torch.cat([state[name] for state in states]) for name in names})
        except RuntimeError as error:
            raise ModelError("states of different frame sizes cannot be stacked") from error

    def split(self) -> list[MembraneState]:
        """One state a stream; each owns its memory."""
        return [
            MembraneState({name: t[i : i + 1].clone() for name, t in self._tensors.items()})
            for i in range(self.streams)
        ]

    def to_bytes(self) -> bytes:
        """Safetensors; names are numbered so that their order survives."""
        return save({f"{i:04d}/{name}": t.contiguous().cpu() for i, (name, t) in enumerate(self._tensors.items())})

    @staticmethod
    def from_bytes(data: bytes) -> MembraneState:
        """The inverse of `to_bytes`. ModelError where `data` is something else."""
        try:
            tensors = load(data)
        except SafetensorError as error:
            raise ModelError(f"not a membrane state: {error}") from error
        return MembraneState({key.partition("/")[2]: tensors[key] for key in sorted(tensors)})
