"""Many streams, one network: each has its own membranes, reset policy and restoring, and they step together.

    batcher = Batcher(job)
    lane = batcher.open(info)
    [dry, …] = batcher.step([(lane, frame), …])     # at most one frame a stream

With ``--model identity`` frames pass as they are, and torch is never imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from esdnet import allowance
from pipeline.deraining import Deraining
from pipeline.errors import DerainError
from pipeline.frame import Frame, StreamInfo
from pipeline.job import IDENTITY, Job

if TYPE_CHECKING:
    from esdnet import Derainer
    from esdnet.batch import BatchDerainer


class Lane:
    """One stream's place in the batcher; made by `Batcher.open`."""

    def __init__(self, info: StreamInfo, job: Job, batch: BatchDerainer | None) -> None:
        self.frames = 0
        """How many have gone through."""
        self._deraining = Deraining(info, job, _opener(batch)) if batch else None

    @property
    def resets(self) -> dict[str, int]:
        """How often its membranes were zeroed, by reason."""
        return self._deraining.resets if self._deraining else {}

    def forget(self, reason: str) -> None:
        """Zero the membranes before the next frame, and count `reason` for it."""
        if self._deraining:
            self._deraining.forget(reason)

    def __call__(self, frame: Frame) -> Frame:
        self.frames += 1
        return self._deraining(frame) if self._deraining else frame


class Batcher:
    """Takes the rain out of many streams with the network that `job` names.

    Raises:
        DerainError: Model, weights or runtime cannot be used.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._batch: BatchDerainer | None = None
        self.runtime, self.note = "none", ""
        if job.model == IDENTITY:
            return
        from esdnet.batch import BatchDerainer
        from esdnet.errors import ModelError

        threads = job.threads or allowance.cores()
        try:
            self._batch = BatchDerainer(job.model, runtime=job.runtime, threads=threads)
        except ModelError as error:
            raise DerainError(str(error)) from error
        self.runtime = self._batch.runtime

    @property
    def steps(self) -> int:
        """How many steps the network has taken; below the number of frames where streams went together."""
        return self._batch.steps if self._batch else 0

    def open(self, info: StreamInfo) -> Lane:
        """A lane for one more stream. DerainError where what the job asks for does not fit the stream."""
        return Lane(info, self._job, self._batch)

    def step(self, work: Sequence[tuple[Lane, Frame]]) -> list[Frame | Exception]:
        """One frame of each of these lanes: the derained frame, or the error of this stream alone."""
        calls = [partial(lane, frame) for lane, frame in work]
        if self._batch:
            return self._batch.run(calls)
        return [call() for call in calls]

    def close(self) -> None:
        if self._batch:
            self._batch.close()


def _opener(batch: BatchDerainer) -> Callable[[int], Derainer]:
    return lambda _number: batch.open()
