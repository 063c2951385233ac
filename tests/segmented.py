"""Jobs written in segments without processes: cut off where a test likes, and what came of them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Self

import av
import msgspec

from esdnet import Derainer
from pipeline.batch import Stop, Watcher
from pipeline.batch_worker import carried_out
from pipeline.decode import opened
from pipeline.deraining import Deraining
from pipeline.films import Films
from pipeline.job import IDENTITY, Job, JobResult
from pipeline.rain_layer import open_rain_layer, write
from pipeline.segment_sink import open_segments
from pipeline.segment_source import marked, part_of
from pipeline.segmenting import Segmenting
from pipeline.sinks.options import EncodeOptions

LOSSLESS = EncodeOptions(codec="ffv1")
REORDERED = EncodeOptions(codec="libx264", preset="veryfast")


class CutOff(Exception):
    """The power has failed."""


def job_for(source: Path, destination: Path, encode: EncodeOptions = LOSSLESS) -> Job:
    return Job(source=str(source), destination=str(destination), model="identity", segment=0.4, warmup=4, encode=encode)


def carry_out(job: Job, frames: int | None = None, resets: tuple[int, ...] = ()) -> list[str]:
    """Decode, derain and write in one thread; with `frames` the power fails after so many. What the sink warned of."""
    piece = None
    if feet := Films(job).feet():
        piece = feet[-1].next
    job = msgspec.structs.replace(job, piece=piece)
    with opened(job) as source:
        rain = open_rain_layer(job, source.info)
        sink = open_segments(job, source.info, job.source)
        assert sink is not None
        segments, restorer = Segmenting(job, source.info), None
        if job.model != IDENTITY:
            deraining = Deraining(source.info, job, lambda _: Derainer(job.model, runtime=job.runtime, threads=1))
            segments = Segmenting(job, source.info, deraining, lambda: deraining.networks)
            restorer = deraining.restorer
        for count, frame in enumerate(marked(part_of(source, job) if piece else source)):
            if frame.header.index in resets:
                frame.header = msgspec.structs.replace(frame.header, reset="scene_cut")
            if count == frames:
                segments.finish()
                sink.abort()
                if rain:
                    rain.abort()
                raise CutOff
            dry = segments(frame)
            sink.write(dry)
            write(rain, restorer.rain if restorer else None, dry.header.begins)
        if rain:
            rain.close()
        sink.close()
    return sink.warnings


def carry_out_in_bits(job: Job, every: int) -> None:
    """Fail again and again, each time a little later, until it is done."""
    for tries in range(1, 100):
        try:
            carry_out(job, every * tries)
        except CutOff:
            continue
        return
    raise AssertionError("never done")


def pictures(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as held:
        return [(Fraction(f.pts * f.time_base), f.to_ndarray().tobytes()) for f in held.decode(video=0)]


def packets(path: Path) -> list[tuple[Fraction, Fraction | None, bytes]]:
    with av.open(str(path)) as held:
        return [
            (Fraction(p.pts * p.time_base), None if p.dts is None else Fraction(p.dts * p.time_base), bytes(p))
            for p in held.demux(video=0)
            if p.size
        ]


class AtOnce:
    """A runner of parts (`pipeline.split_batch`) that has some done before it asks for the next.

    Args:
        parts: The power fails after so many; None: never.
        some: So many are made before the first of them is told of.
    """

    def __init__(self, parts: int | None = None, some: int = 1) -> None:
        self._parts, self._some = parts, some
        self.made: list[int] = []
        """Numbers of the parts."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, jobs: Iterator[Job | None], watch: Watcher, stop: Stop = lambda: False) -> list[JobResult]:
        results: list[JobResult] = []
        while some := [job for job in islice(jobs, self._some) if job]:
            for job in some:
                if len(results) == self._parts:
                    raise CutOff
                self.made.append(job.piece.number if job.piece else 0)
                results.append(carried_out(job))
            for result in results[-len(some) :]:
                watch.done(result)
        return results
