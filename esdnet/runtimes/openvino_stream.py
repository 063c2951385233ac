"""A stream of 8-bit planes on OpenVINO, whose membranes stay where they are: two sets of tensors used in turn.

One request reads the first set and writes the second, the other the reverse. Alone, a stream's step is given all
threads, or one where that is quicker (`esdnet/runtimes/thread_choice.py`); beside other streams
(`OpenvinoRuntime.side_by_side`) one each, which is more frames a second for all of them. All graphs work on the same
tensors and give the same bits, so a stream may go from one to another at any frame.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from esdnet.plane_step import packed_size
from esdnet.runtimes.output_order import places
from esdnet.runtimes.runtime import Plane
from esdnet.runtimes.thread_choice import ThreadChoice
from esdnet.state import MembraneState

if TYPE_CHECKING:
    from esdnet.runtimes.openvino import OpenvinoRuntime

_log = logging.getLogger(__name__)
Threads = Literal["all", "one", "one_each"]
"""A step's: all, one, or one for each of several streams' steps at a time."""
MOST_TO_LEAVE_IDLE = 4
"""Threads beyond which a step is never tried with one alone."""
MOST_PIXELS = 1280 * 720
"""Of frames whose steps are. A second graph has working memory of its own: with `stream` 690 MB at 1920×1080."""


class OpenvinoStream:
    """A `PlaneStream`. `compiled` gives the graph for steps with so many threads; None where "one" is not to be had."""

    def __init__(self, runtime: OpenvinoRuntime, compiled: Callable[[Threads], Any], height: int, width: int) -> None:
        self._runtime, self._compiled = runtime, compiled
        self._zero = runtime.initial_state(1, *packed_size(height, width))
        self._shapes = plane_shapes(height, width)
        self._sets = [runtime.arrays(self._zero) for _ in range(2)]
        self._planes = [np.empty((1, 1, *shape), np.uint8) for shape in self._shapes]
        self._requests: dict[Threads, list[Any]] = {}
        self._turn = 0
        few, small = 1 < runtime.steps_at_once <= MOST_TO_LEAVE_IDLE, height * width <= MOST_PIXELS
        self._choice = ThreadChoice() if few and small else None
        self._preparing: threading.Thread | None = None
        self._bound(self._threads())

    def _threads(self) -> Threads:
        """For the next step."""
        if self._runtime.side_by_side:
            return "one_each"
        return "one" if self._choice and self._choice.single else "all"

    def _bound(self, threads: Threads) -> list[Any]:
        """The two requests, bound to the tensors."""
        if threads not in self._requests:
            self._requests[threads] = self._bind(self._compiled(threads))
        return self._requests[threads]

    def _bind(self, compiled: Any) -> list[Any]:
        self._places = places(compiled)  # the same in all graphs
        requests = [compiled.create_infer_request() for _ in range(2)]
        for turn, request in enumerate(requests):
            held: list[np.ndarray[Any, Any]] = [*self._planes, *self._sets[turn]]
            for index, array in enumerate(held):
                request.set_input_tensor(index, self._runtime.tensor(array))
            for index, array in enumerate(self._sets[1 - turn], start=len(self._planes)):
                request.set_output_tensor(self._places[index], self._runtime.tensor(array))
        return requests

    def _prepare(self) -> None:
        try:
            compiled = self._compiled("one")
            if compiled is not None:
                self._requests["one"] = self._bind(compiled)
        except (RuntimeError, MemoryError) as error:  # no room for it: steps go on with all threads
            _log.info("openvino: no graph for one thread: %s", error)

    def step(self, planes: Sequence[Plane]) -> list[Plane]:
        threads = self._threads()
        request = self._bound(threads)[self._turn]
        for held, plane in zip(self._planes, planes, strict=True):
            held[0, 0] = plane
        derained = [np.empty((1, 1, *shape), np.uint8) for shape in self._shapes]
        for index, array in enumerate(derained):
            request.set_output_tensor(self._places[index], self._runtime.tensor(array))
        began = time.perf_counter()
        request.infer()
        if self._choice and threads != "one_each":
            self._choice.took(time.perf_counter() - began, ready="one" in self._requests)
            if self._choice.wanted and not self._preparing:  # beside the steps: it takes some tenths of a second
                self._preparing = threading.Thread(target=self._prepare, name="one thread's graph")
                self._preparing.start()
        self._turn = 1 - self._turn
        return [array[0, 0] for array in derained]

    def take_state(self) -> MembraneState:
        return self._runtime.read(self._sets[self._turn], self._zero.names)

    def put_state(self, state: MembraneState) -> None:
        self._runtime.write(self._sets[self._turn], state)


def plane_shapes(height: int, width: int) -> list[tuple[int, int]]:
    """Of Y, U and V."""
    chroma = ((height + 1) // 2, (width + 1) // 2)
    return [(height, width), chroma, chroma]
