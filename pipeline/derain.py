"""The middle stage: takes the rain out of each frame. `--model identity` passes frames on and never imports torch."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import DerainError
from pipeline.frame import Frame, StreamInfo
from pipeline.job import IDENTITY, Job
from pipeline.link import END_TIMEOUT, Receiver, Sender
from pipeline.resets import ResetPolicy
from pipeline.stage import Stage
from pipeline.wire import Ready, Report

if TYPE_CHECKING:
    from esdnet import Derainer

FULL_RANGE = 2  # AVCOL_RANGE_JPEG


def run(stage: Stage) -> None:
    """Derain everything that comes down the link. The network is loaded before anything is opened for writing."""
    job = stage.job
    with (
        Receiver(stage.order.upstream, bind=False, stage="derain", peer="decode", stop=stage.stopped) as source,
        Sender(stage.order.downstream, bind=True, stage="derain", peer="encode", stop=stage.stopped) as sink,
    ):
        network = None if job.model == IDENTITY else _load(job)
        info = source.accept()
        resets = ResetPolicy(info, scene_cuts=job.scene_cuts) if network else None
        sink.hello(info)
        stage.ready(Ready("derain", model=job.model, runtime=network.runtime if network else "none"))
        source.waited = sink.waited = 0.0
        for frame in source.frames():
            sink.send(_derained(frame, info, network, resets) if network and resets else frame)
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


def _load(job: Job) -> Derainer:
    """DerainError where model, weights or runtime cannot be used."""
    from esdnet import Derainer
    from esdnet.errors import ModelError

    try:
        return Derainer(job.model, runtime=job.runtime, threads=job.threads or len(os.sched_getaffinity(0)))
    except ModelError as error:
        raise DerainError(str(error)) from error


def _derained(frame: Frame, info: StreamInfo, network: Derainer, resets: ResetPolicy) -> Frame:
    """The derained frame, with the same header."""
    if resets.reason(frame):
        network.reset()
    planes = frame.planes()
    out = network(planes if len(planes) == 3 else planes[0], info.color_range == FULL_RANGE)
    flat = out.reshape(-1) if isinstance(out, np.ndarray) else np.concatenate([plane.reshape(-1) for plane in out])
    return Frame(frame.header, flat)
