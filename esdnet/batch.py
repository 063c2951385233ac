"""BatchDerainer: many streams on one device. Their frames go through the network together, one step for all of them.

    batch = BatchDerainer("stream-nano")
    lanes = [batch.open() for _ in range(8)]          # one a stream, to be used like a Derainer
    batch.run([partial(lane, frame) for lane, frame in zip(lanes, frames)])

A lane is a `Derainer` whose steps meet those of the other lanes: while `run` is under way, frames that reach the
network at the same padded size are stacked with their membranes, stepped once, and split again. All that is particular
to a stream (kind of frame, membranes, resets, failure) stays with its lane, so streams come, go, fail and change size
without the others noticing. Lanes of different sizes take a step each.
"""

from __future__ import annotations

import copy
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from esdnet.derainer import Derainer
from esdnet.runtimes import Runtime
from esdnet.state import MembraneState

Result = TypeVar("Result")

SIDE_BY_SIDE = ("openvino", "openvino_bf16")
"""Runtimes whose lanes take steps of their own, as many at a time as there are threads, each with one thread. Measured
with stream-nano: a stacked step costs 1.1 times the CPU time of single ones there, as the membranes, which it keeps
inside, have to be copied in and out, and a step with two threads 1.4 times that of one. On eager stacking saves between
nothing (640 × 360) and a quarter (160 × 96); on a GPU it is what fills the device."""

SIZES = (1, 2, 4, 8, 16, 32)
"""Batch sizes that runtimes that compile by shape are given, filled up with empty streams; larger ones are parted."""


@dataclass(slots=True)
class _Step:
    """One lane's step, waiting for the others."""

    frame: Tensor
    state: MembraneState
    done: Future[tuple[Tensor, MembraneState]] = field(default_factory=Future)

    @property
    def key(self) -> tuple[object, ...]:
        """Steps with the same key can be stacked."""
        return (self.frame.shape[1:], self.frame.dtype, self.frame.device, self.state.names)


class BatchDerainer:
    """Derains many streams with one network.

    Args:
        model, runtime, threads: As for `Derainer`.

    Raises:
        ModelError: The model or runtime cannot be used.

    Where stacking gains nothing each lane takes a step of its own: on the runtimes of `SIDE_BY_SIDE` several at a time,
    with a network for single pictures by turns.
    """

    def __init__(self, model: str = "stream", *, runtime: str = "auto", threads: int | None = None) -> None:
        self._first = Derainer(model, runtime=runtime, threads=threads)
        self.model, self.runtime = model, self._first.runtime
        engine = getattr(self._first, "_engine", None)
        self._beside: Any = engine if self.runtime in SIDE_BY_SIDE and engine else None
        self._meeting = _Meeting(engine) if engine and not self._beside else None
        self._pool: ThreadPoolExecutor | None = None

    @property
    def steps(self) -> int:
        """How many steps have been taken together, whatever the number of streams in each; 0 where none are."""
        return self._meeting.steps if self._meeting else 0

    @property
    def stepped(self) -> int:
        """How many frames went through them."""
        return self._meeting.stepped if self._meeting else 0

    def open(self) -> Derainer:
        """A lane for one more stream, without membranes yet. Forget it when the stream ends; nothing need be closed."""
        lane = copy.copy(self._first)  # shares the network and its compiled forms
        if self._meeting:
            lane._engine = self._meeting
        lane.reset()
        return lane

    def run(self, work: Sequence[Callable[[], Result]]) -> list[Result | Exception]:
        """Do all the `work` at once, each a call that uses lanes of its own; what each gave, or the error it raised.

        Lanes called outside `run` take their steps alone. Not for several threads at a time.
        """
        at_once = len(work) if self._meeting else self._beside.steps_at_once if self._beside else 1
        if len(work) == 1 or at_once == 1:
            return [_outcome(one) for one in work]
        if self._pool is None or self._pool._max_workers < at_once:
            self.close()
            self._pool = ThreadPoolExecutor(max(at_once, 4) if self._meeting else at_once, thread_name_prefix="lane")
        if self._meeting:
            return self._meeting.run(work, self._pool)
        self._beside.side_by_side = True
        try:
            return list(self._pool.map(_outcome, work))
        finally:
            self._beside.side_by_side = False

    def close(self) -> None:
        """End the threads. `run` starts them again where needed."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


class _Meeting:
    """Looks like a runtime to the lanes; hands the real one the steps of all of them together."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._events: queue.SimpleQueue[_Step | None] | None = None
        self.name = runtime.name
        self.steps = self.stepped = 0
        # eager takes any batch as it is; what compiles by shape would compile at each stream that comes or goes
        self._by_shape = bool(getattr(runtime, "compiles_by_shape", runtime.name != "eager"))

    def initial_state(self, streams: int, height: int, width: int) -> MembraneState:
        return self._runtime.initial_state(streams, height, width)

    def step(self, frame: Tensor, state: MembraneState) -> tuple[Tensor, MembraneState]:
        """Called by lanes. Waits until every other lane has come here too or is done."""
        if self._events is None:
            self.steps, self.stepped = self.steps + 1, self.stepped + 1
            return self._runtime.step(frame, state)
        step = _Step(frame, state)
        self._events.put(step)
        return step.done.result()

    def run(self, work: Sequence[Callable[[], Result]], pool: ThreadPoolExecutor) -> list[Result | Exception]:
        events: queue.SimpleQueue[_Step | None] = queue.SimpleQueue()
        self._events = events

        def lane(one: Callable[[], Result]) -> Result | Exception:
            try:
                return _outcome(one)
            finally:
                events.put(None)

        try:
            results = [pool.submit(lane, one) for one in work]
            running = len(work)
            while running:
                arrived = [events.get() for _ in range(running)]
                waiting = [step for step in arrived if step is not None]
                running = len(waiting)
                groups: dict[tuple[object, ...], list[_Step]] = {}
                for step in waiting:
                    groups.setdefault(step.key, []).append(step)
                for group in groups.values():
                    largest = SIZES[-1] if self._by_shape else len(group)
                    for start in range(0, len(group), largest):
                        self._together(group[start : start + largest])
            return [result.result() for result in results]
        finally:
            self._events = None

    @torch.inference_mode()
    def _together(self, group: list[_Step]) -> None:
        """One step for all of a group. Where that fails each is tried alone, so that only the one to blame fails."""
        try:
            frames, states = self._stacked(group)
            derained, after = self._runtime.step(frames, states)
            parts = after.split()
        except Exception as error:
            if len(group) == 1:
                group[0].done.set_exception(error)
                return
            for step in group:
                self._together([step])
            return
        self.steps, self.stepped = self.steps + 1, self.stepped + len(group)
        for number, step in enumerate(group):
            step.done.set_result((derained[number : number + 1], parts[number]))

    def _stacked(self, group: list[_Step]) -> tuple[Tensor, MembraneState]:
        frames, states = [step.frame for step in group], [step.state for step in group]
        size = next(size for size in SIZES if size >= len(group)) if self._by_shape else len(group)
        if missing := size - len(group):
            height, width = frames[0].shape[-2:]
            frames.append(frames[0].new_zeros((missing, *frames[0].shape[1:])))
            states.append(self._runtime.initial_state(missing, height, width))
        return torch.cat(frames), MembraneState.stack(states)


def _outcome(work: Callable[[], Result]) -> Result | Exception:
    try:
        return work()
    except Exception as error:
        return error
