"""The middle stage: takes the rain out of each frame. `--model identity` passes frames on and never imports torch."""

from __future__ import annotations

import os
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from pipeline.errors import DerainError
from pipeline.frame import Frame
from pipeline.job import IDENTITY, Job
from pipeline.link import END_TIMEOUT, Receiver, Sender
from pipeline.rain_layer import open_rain_layer, write
from pipeline.resets import ResetPolicy
from pipeline.restore import Planes, Restorer
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
        resets = ResetPolicy(info, scene_cuts=job.scene_cuts) if network else None
        restorer = Restorer(info, job.restore)
        networks = [network] if network else []
        rain = ended.enter_context(open_rain_layer(job, info) or nullcontext())
        sink.hello(info)
        stage.ready(Ready("derain", model=job.model, runtime=network.runtime if network else "none"))
        source.waited = sink.waited = 0.0
        for frame in source.frames():
            sink.send(_derained(frame, job, restorer, networks, resets) if resets else frame)
            write(rain, restorer.rain)
            stage.progress(sink.frames)
        sink.finish(source.end.damaged if source.end else 0, END_TIMEOUT)
        source.acknowledge()
        stage.report(
            Report(
                stage="derain",
                frames=sink.frames,
                busy=max(0.0, stage.elapsed() - source.waited - sink.waited),
                wait_in=source.waited,
                wait_out=sink.waited,
                resets=dict(resets.counts) if resets else {},
            )
        )


def _load(job: Job, number: int = 0) -> Derainer:
    """The network of this job's `number`-th sequence of frames. A process that does many jobs keeps it for the next.

    DerainError where model, weights or runtime cannot be used.
    """
    from esdnet import Derainer
    from esdnet.errors import ModelError

    threads = job.threads or len(os.sched_getaffinity(0))
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


def _derained(frame: Frame, job: Job, restorer: Restorer, networks: list[Derainer], resets: ResetPolicy) -> Frame:
    """The derained frame, with the same header. Each field of interlaced video has a network (membranes) of its own."""
    views = restorer.views(frame)
    while len(networks) < len(views):
        networks.append(_load(job, len(networks)))
    if reason := resets.reason(views[0]):
        frame.header = msgspec.structs.replace(frame.header, reset=reason)
        for network in networks:
            network.reset()
    times = job.restore.still_steps if restorer.info.stills else 1
    dry = [_shown(view, network, restorer.full_range, times) for view, network in zip(views, networks, strict=False)]
    return restorer.restored(frame, views, dry)


def _shown(view: Frame, network: Derainer, full_range: bool, times: int) -> Planes:
    """What the network makes of a view; a picture that stands alone it is shown several times."""
    planes = view.planes()
    for _ in range(times):
        out = network(planes if len(planes) == 3 else planes[0], full_range)
    return [out] if isinstance(out, np.ndarray) else list(out)
