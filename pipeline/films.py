"""The films of a job: its result and, with `--save-rain`, the layer that was removed. Of a long job both have segments.

They are cut before the same frames, so a run that was cut off goes on where both are done. When the last segments of
both are there the layer is joined, then the result: who sees the result sees all of it. Only then the work folders go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from pipeline.job import Job
from pipeline.segment_file import Foot
from pipeline.segments import WorkFolder


def layer_job(job: Job) -> Job:
    """The job whose destination is the rain layer: encoded as the result is, but in a pixel format of its own."""
    encode = msgspec.structs.replace(job.encode, pixel_format=None)
    return msgspec.structs.replace(job, destination=job.restore.save_rain, encode=encode)


class Films:
    """The work folders of a job, whether they are there or not."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.result = WorkFolder(job.destination)
        self.layer = WorkFolder(job.restore.save_rain) if job.restore.save_rain else None

    @property
    def each(self) -> Iterator[tuple[WorkFolder, Job]]:
        """The folders, each with the job that its segments are of."""
        if self.layer:  # always first, so that of two runs one gets both locks
            yield self.layer, layer_job(self.job)
        yield self.result, self.job

    def exist(self) -> bool:
        """Whether any of them is there."""
        return any(work.exists() for work, _ in self.each)

    def lock(self) -> None:
        """See `WorkFolder.lock`. All of them or none."""
        try:
            for work, _ in self.each:
                work.lock()
        except BaseException:
            for work, _ in self.each:
                work.remove_if_empty()
            self.unlock()
            raise

    def unlock(self) -> None:
        for work, _ in self.each:
            work.unlock()

    def remove(self) -> None:
        for work, _ in self.each:
            work.remove()

    def remove_if_empty(self) -> None:
        """Remove those of ours if there is nothing a later run could go on from: a segment of one film is of no use."""
        if not self.numbers():
            for work, _ in self.each:
                if work.locked:
                    work.remove()

    def drop_from(self, number: int) -> None:
        """See `WorkFolder.drop_from`."""
        for work, _ in self.each:
            work.drop_from(number)

    def numbers(self) -> list[int]:
        """The segments that are done in every film, in order."""
        done = [set(work.numbers()) for work, _ in self.each]
        return sorted(set.intersection(*done))

    def feet(self) -> list[Foot]:
        """The feet of the result's segments, from the first to the last that is done in every film.

        DerainError for a segment that cannot be read.
        """
        feet = self.result.feet()
        if self.layer is None:
            return feet
        pairs = list(zip(feet, self.layer.feet(), strict=False))
        while pairs and _ends(pairs[-1][0]) != _ends(pairs[-1][1]):  # they are of runs that cut elsewhere
            pairs.pop()
        return [foot for foot, _ in pairs]

    def join(self, source: str, stop: Callable[[], None] = lambda: None) -> list[str]:
        """Put every film in place. The folders stay. See `pipeline.join`.

        Args:
            source: The file whose other streams the result gets too; "" for none.
            stop: Raises where the job is to be given up.

        Returns:
            What the result's container could not keep, one sentence each.
        """
        from pipeline.join import join

        if self.layer:
            self.layer.lock()
            join(self.layer, layer_job(self.job), "", stop)
        return join(self.result, self.job, source, stop)


def _ends(foot: Foot) -> tuple[object, ...]:
    following = foot.next
    return foot.last, following.number, following.frame, following.tail, following.marks
