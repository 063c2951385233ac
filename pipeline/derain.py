"""The middle stage: takes the rain out of each frame. `--model identity` passes frames on and never imports torch."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING

from esdnet import allowance
from pipeline.deraining import Deraining
from pipeline.errors import DerainError
from pipeline.job import IDENTITY, Job
from pipeline.link import END_TIMEOUT, Receiver, Sender
from pipeline.memory import bounded
from pipeline.rain_layer import LayerSegments, open_rain_layer, write
from pipeline.segmenting import Segmenting
from pipeline.stage import Stage
from pipeline.wire import Ready, Report

if TYPE_CHECKING:
    from esdnet import Derainer

_kept: dict[tuple[str, str, int], list[Derainer]] = {}


def run(stage: Stage) -> None:
    """Derain everything that comes down the link. The network is loaded before anything is opened for writing."""
    job = stage.job
    with (
        Receiver(stage.order.upstream, bind=False, stage="derain", peer="decode", stop=stage.stopped) as source,
        Sender(stage.order.downstream, bind=True, stage="derain", peer="encode", stop=stage.stopped) as sink,
        ExitStack() as ended,
    ):
        network = None if job.model == IDENTITY else _load(job)
        info = source.accept()
        limit = job.restore.max_memory
        deraining = Deraining(info, job, lambda number: bounded(_load(job, number), info, limit)) if network else None
        rain = ended.enter_context(open_rain_layer(job, info) or nullcontext())
        sink.hello(info)
        stage.ready(Ready("derain", model=job.model, runtime=network.runtime if network else "none"))
        source.waited = sink.waited = 0.0
        segments = Segmenting(job, info, deraining, lambda: deraining.networks) if deraining else Segmenting(job, info)
        for frame in source.frames():
            dry = segments(frame)
            sink.send(dry)
            write(rain, deraining.restorer.rain if deraining else None, dry.header.begins)
            stage.progress(sink.frames)
        segments.finish()
        if isinstance(rain, LayerSegments):
            rain.close()  # before the frames end: the encode stage joins it
        sink.finish(source.end.damaged if source.end else 0, END_TIMEOUT)
        if rain:
            rain.close()  # the front gives us little time once we have reported
        source.acknowledge()
        stage.report(
            Report(
                stage="derain",
                frames=sink.frames,
                busy=max(0.0, stage.elapsed() - source.waited - sink.waited),
                wait_in=source.waited,
                wait_out=sink.waited,
                resets=deraining.resets if deraining else {},
                warnings=sorted({one.note for one in deraining.networks if one.note}) if deraining else [],
            )
        )


def _load(job: Job, number: int = 0) -> Derainer:
    """The network of this job's `number`-th sequence of frames. A process that does many jobs keeps it for the next.

    DerainError where model, weights or runtime cannot be used.
    """
    from esdnet import Derainer
    from esdnet.errors import ModelError

    threads = job.threads or allowance.cores()
    key = (job.model, job.runtime, threads)
    if key not in _kept:
        _kept.clear()
    held = _kept.setdefault(key, [])
    try:
        while len(held) <= number:
            held.append(Derainer(job.model, runtime=job.runtime, threads=threads))
    except ModelError as error:
        raise DerainError(str(error)) from error
    return held[number]
