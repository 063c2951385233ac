"""The last stage: writes the frames that come up the link. Only when its file is closed is the job done."""

from __future__ import annotations

import os

from pipeline.link import Receiver
from pipeline.segment_sink import open_segments
from pipeline.sinks import open_sink
from pipeline.stage import Stage
from pipeline.wire import Ready, Report


def run(stage: Stage) -> None:
    """Encode everything, close the destination, then acknowledge."""
    job = stage.job
    with Receiver(stage.order.upstream, bind=False, stage="encode", peer="derain", stop=stage.stopped) as link:
        info = link.accept()
        copied = job.source if os.path.exists(job.source) else ""  # a folder's pictures have metadata to copy too

        def joining() -> None:
            stage.check()
            stage.progress(sink.frames)

        segments = open_segments(job, info, copied, joining)
        with segments or open_sink(job.destination, info, job.encode, copied) as sink:
            stage.ready(Ready("encode"))
            link.waited = 0.0
            for frame in link.frames():
                sink.write(frame)
                stage.progress(sink.frames)
            stage.check()
        waited = link.waited
        link.acknowledge()
        stage.report(
            Report(
                stage="encode",
                frames=sink.frames,
                busy=max(0.0, stage.elapsed() - waited),
                wait_in=waited,
                warnings=sink.warnings,
            )
        )
