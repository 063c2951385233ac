"""The middle stage: takes the rain out of each frame, and decides when the membranes must forget.

Membranes are kept from frame to frame. They are reset at the start, at a scene cut, where pts jump, and where the size
changes; every reset is counted with its reason. `--model identity` passes frames on and never imports torch.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import DerainError
from pipeline.frame import Frame, StreamInfo, fraction
from pipeline.job import IDENTITY, Job
from pipeline.link import END_TIMEOUT, Receiver, Sender
from pipeline.stage import Stage
from pipeline.wire import Ready, Report

if TYPE_CHECKING:
    from esdnet import Derainer
    from pipeline.scene_cut import SceneCut

FULL_RANGE = 2  # AVCOL_RANGE_JPEG
JUMP_SECONDS = 1.0
"""A gap in pts longer than this is a jump: what was seen before says little about what comes."""


class FrameDerainer:
    """One stream's network with its reset policy."""

    def __init__(self, job: Job) -> None:
        """DerainError where model, weights or runtime cannot be used."""
        from esdnet import Derainer
        from esdnet.errors import ModelError

        try:
            threads = job.threads or len(os.sched_getaffinity(0))
            self._derainer: Derainer = Derainer(job.model, runtime=job.runtime, threads=threads)
        except ModelError as error:
            raise DerainError(str(error)) from error
        self.runtime = self._derainer.runtime
        self.resets: Counter[str] = Counter()
        self._cuts: SceneCut | None = None
        if job.scene_cuts:
            from pipeline.scene_cut import SceneCut

            self._cuts = SceneCut()
        self._before: Frame | None = None

    def __call__(self, frame: Frame, info: StreamInfo) -> Frame:
        """The derained frame, with the same header."""
        reason = self._why_reset(frame, info)
        if reason:
            self._derainer.reset()
            self.resets[reason] += 1
        self._before = frame
        planes = frame.planes()
        full = info.color_range == FULL_RANGE
        out = self._derainer(planes if len(planes) == 3 else planes[0], full)
        flat = out.reshape(-1) if isinstance(out, np.ndarray) else np.concatenate([plane.reshape(-1) for plane in out])
        return Frame(frame.header, flat)

    def _why_reset(self, frame: Frame, info: StreamInfo) -> str | None:
        before, header = self._before, frame.header
        cut = self._cuts.is_cut(frame) if self._cuts else False
        if before is None:
            return "start"
        if (header.width, header.height) != (before.header.width, before.header.height):
            return "size_change"
        tick = float(fraction(info.time_base))
        step = (header.pts - before.header.pts) * tick
        if step < 0 or step > max(JUMP_SECONDS, 4 * before.header.duration * tick):
            return "pts_jump"
        return "scene_cut" if cut else None


def run(stage: Stage) -> None:
    """Derain everything that comes down the link."""
    job = stage.job
    with (
        Receiver(stage.order.upstream, bind=False, stage="derain", peer="decode", stop=stage.stopped) as source,
        Sender(stage.order.downstream, bind=True, stage="derain", peer="encode", stop=stage.stopped) as sink,
    ):
        derainer = None if job.model == IDENTITY else FrameDerainer(job)
        info = source.accept()
        sink.hello(info)
        stage.ready(Ready("derain", model=job.model, runtime=derainer.runtime if derainer else "none"))
        source.waited = sink.waited = 0.0
        for frame in source.frames():
            sink.send(derainer(frame, info) if derainer else frame)
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
                resets=dict(derainer.resets) if derainer else {},
            )
        )
