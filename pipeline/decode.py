"""The first stage: opens the source and sends its frames down the link."""

from __future__ import annotations

from pipeline.errors import DerainError
from pipeline.frame import StreamInfo
from pipeline.hang import HangWatch
from pipeline.job import Job
from pipeline.link import END_TIMEOUT, Sender
from pipeline.segment_source import marked, part_of
from pipeline.sources import Source, open_source
from pipeline.stage import Stage
from pipeline.wire import Ready, Report

_GAPS = 8
"""Stretches without frames that are named."""
LEAST_FRAMES = 0.98
"""Part of the announced frames that must come; containers that only tell their duration make the number an estimate."""


def run(stage: Stage) -> None:
    """Decode everything. DerainError where the source cannot be read or holds no frame."""
    job = stage.job
    with (
        Sender(stage.order.downstream, bind=True, stage="decode", peer="derain", stop=stage.stopped) as link,
        HangWatch(f"{job.source}: its decoder gave no frame") as watch,
        watch.during(lambda: opened(job)) as source,
    ):

        def beat() -> None:
            watch.beat()
            stage.progress(link.frames)  # where a part begins, much may be read before its first frame

        source.beat = beat
        stage.tell(Ready("decode", info=source.info))
        link.hello(source.info)
        stage.begin()
        link.waited = 0.0
        for frame in watch.each(marked(part_of(source, job) if job.piece else source)):
            link.send(frame)
            stage.progress(link.frames)
        if not link.frames:
            raise DerainError(f"{job.source}: not one frame of it can be decoded")
        # a sound file may hold sound that is longer than its video
        suspect = not job.piece and (job.partial or source.damaged > 0)
        link.finish(source.damaged, END_TIMEOUT)
        stage.report(
            Report(
                stage="decode",
                frames=link.frames,
                busy=max(0.0, stage.elapsed() - link.waited),
                wait_out=link.waited,
                damaged=source.damaged,
                lost=source.lost,
                warnings=source.warnings
                + (_shortfall(job.source, source.info, link.frames, source.gaps) if suspect else []),
            )
        )


def opened(job: Job) -> Source:
    """The job's source, read as the job wants it."""
    return open_source(
        job.source,
        partial=job.partial,
        native=not job.restore.eight_bit,
        deinterlace=job.restore.deinterlace,
        strict=job.restore.strict,
        device=job.decode_device,
    )


def _shortfall(path: str, info: StreamInfo, frames: int, gaps: list[tuple[float, float]]) -> list[str]:
    """Say so where clearly fewer frames came than the file announced: what a demuxer skips, it does not count."""
    if info.frames is None or frames >= info.frames * LEAST_FRAMES - 1:
        return []
    named = ", ".join(f"{begin:.3f}–{end:.3f} s" for begin, end in gaps[:_GAPS])
    where = f"; nothing at {named}{' and later' if len(gaps) > _GAPS else ''}" if gaps else ""
    return [
        f"{path}: announces {info.frames} frames, of which only {frames} are there; "
        f"the rest is cut off or damaged{where}"
    ]
