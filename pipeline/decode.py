"""The first stage: opens the source and sends its frames down the link."""

from __future__ import annotations

from pipeline.errors import DerainError
from pipeline.link import END_TIMEOUT, Sender
from pipeline.sources import open_source
from pipeline.stage import Stage
from pipeline.wire import Ready, Report


def run(stage: Stage) -> None:
    """Decode everything. DerainError where the source cannot be read or holds no frame."""
    job = stage.job
    with (
        Sender(stage.order.downstream, bind=True, stage="decode", peer="derain", stop=stage.stopped) as link,
        open_source(job.source, partial=job.partial) as source,
    ):
        stage.tell(Ready("decode", info=source.info))
        link.hello(source.info)
        stage.begin()
        link.waited = 0.0
        for frame in source:
            link.send(frame)
            stage.progress(link.frames)
        if not link.frames:
            raise DerainError(f"{job.source}: not one frame of it can be decoded")
        link.finish(source.damaged, END_TIMEOUT)
        stage.report(
            Report(
                stage="decode",
                frames=link.frames,
                busy=max(0.0, stage.elapsed() - link.waited),
                wait_out=link.waited,
                damaged=source.damaged,
                warnings=source.warnings,
            )
        )
