"""A stream of 8-bit planes on OpenVINO, whose membranes stay where they are: two sets of tensors used in turn.

One request reads the first set and writes the second, the other the reverse. Alone, a stream's step is given all
threads; beside other streams (`OpenvinoRuntime.side_by_side`) one, which is more frames a second for all of them.
Both graphs work on the same tensors, so a stream may go from one to the other at any frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from esdnet.plane_step import packed_size
from esdnet.runtimes.output_order import places
from esdnet.runtimes.runtime import Plane
from esdnet.state import MembraneState

if TYPE_CHECKING:
    from esdnet.runtimes.openvino import OpenvinoRuntime


class OpenvinoStream:
    """A `PlaneStream`. `compiled` gives the graph for a step alone or, where it is told True, beside others."""

    def __init__(self, runtime: OpenvinoRuntime, compiled: Callable[[bool], Any], height: int, width: int) -> None:
        self._runtime, self._compiled = runtime, compiled
        self._zero = runtime.initial_state(1, *packed_size(height, width))
        self._shapes = plane_shapes(height, width)
        self._sets = [[np.zeros(t.shape, np.float32) for t in runtime.rows(self._zero)] for _ in range(2)]
        self._planes = [np.empty((1, 1, *shape), np.uint8) for shape in self._shapes]
        self._requests: dict[bool, list[Any]] = {}
        self._turn = 0
        self._bound(runtime.side_by_side)

    def _bound(self, beside: bool) -> list[Any]:
        """The two requests, bound to the tensors."""
        if beside not in self._requests:
            compiled = self._compiled(beside)
            self._places = places(compiled)  # the same in both graphs
            self._requests[beside] = requests = [compiled.create_infer_request() for _ in range(2)]
            for turn, request in enumerate(requests):
                held: list[np.ndarray[Any, Any]] = [*self._planes, *self._sets[turn]]
                for index, array in enumerate(held):
                    request.set_input_tensor(index, self._runtime.tensor(array))
                for index, array in enumerate(self._sets[1 - turn], start=len(self._planes)):
                    request.set_output_tensor(self._places[index], self._runtime.tensor(array))
        return self._requests[beside]

    def step(self, planes: Sequence[Plane]) -> list[Plane]:
        request = self._bound(self._runtime.side_by_side)[self._turn]
        for held, plane in zip(self._planes, planes, strict=True):
            held[0, 0] = plane
        derained = [np.empty((1, 1, *shape), np.uint8) for shape in self._shapes]
        for index, array in enumerate(derained):
            request.set_output_tensor(self._places[index], self._runtime.tensor(array))
        request.infer()
        self._turn = 1 - self._turn
        return [array[0, 0] for array in derained]

    def take_state(self) -> MembraneState:
        kept = [torch.from_numpy(array.copy()) for array in self._sets[self._turn]]
        return self._runtime.state_of(kept, self._zero.names)

    def put_state(self, state: MembraneState) -> None:
        for array, tensor in zip(self._sets[self._turn], self._runtime.rows(state), strict=True):
            array[...] = tensor.numpy()


def plane_shapes(height: int, width: int) -> list[tuple[int, int]]:
    """Of Y, U and V."""
    chroma = ((height + 1) // 2, (width + 1) // 2)
    return [(height, width), chroma, chroma]
