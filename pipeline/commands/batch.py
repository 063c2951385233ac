"""`derain batch SRC… DST_DIR`: a library of videos, one result for each."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.batch_files import BatchFile
    from pipeline.job import Job


def batch(
    paths: Annotated[
        list[str], typer.Argument(metavar="SRC… DST_DIR", help="Files, folders, patterns, @lists; then where to.")
    ],
    preset: Annotated[str | None, typer.Option(help="archive, web, fast, or a .yaml file.")] = None,
    model: Annotated[str | None, typer.Option(help="As of derain run.")] = None,
    runtime: Annotated[str | None, typer.Option(help="How the network runs; auto takes the best here.")] = None,
    codec: Annotated[str | None, typer.Option(help="Encoder, as of derain run.")] = None,
    crf: Annotated[float | None, typer.Option(help="Constant quality, lower is better.")] = None,
    container: Annotated[str | None, typer.Option(help="Ending of the results; default: the source's.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Files at a time.")] = 1,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of a network; 0: the cores shared out.")] = 0,
    partial: Annotated[bool, typer.Option("--partial", help="Take truncated files as far as they go.")] = False,
    segment: Annotated[float, typer.Option(min=0.1, help="Seconds of the segments of long files.")] = 10.0,
    restart: Annotated[bool, typer.Option("--restart", help="Throw away what was begun and cut off.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do again what is done.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on looking for new files until interrupted.")] = False,
    stable: Annotated[float, typer.Option(min=0, help="--watch: seconds for which a file may not change.")] = 5.0,
    ray: Annotated[str | None, typer.Option(help="Address of a Ray cluster; local: one on this machine.")] = None,
    split: Annotated[float, typer.Option(min=0, help="Cut files into parts of about so many seconds; 0: no.")] = 0.0,
    retries: Annotated[int, typer.Option(min=0, help="Tries more where a worker or a node dies.")] = 1,
    report: Annotated[str | None, typer.Option(help="JSON file that says how each file went.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")] = False,
) -> None:
    """Take the rain out of many videos. Folders keep their tree; what is done already is skipped.

    A bad file does not end the batch: at the end a table tells what failed and why, and the exit code is 1.
    """
    from pipeline import presets
    from pipeline.batch import Batch
    from pipeline.batch_files import gather
    from pipeline.errors import DerainError, UsageError
    from pipeline.job import Job
    from pipeline.restore_options import RestoreOptions
    from pipeline.sinks.options import EncodeOptions

    if len(paths) < 2:
        raise UsageError("derain batch takes one or more sources and, last, the folder for the results")
    *sources, folder = paths
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise DerainError(f"{folder}: is a file; the results need a folder")
    chosen = presets.load(preset) if preset else presets.Preset()
    options = EncodeOptions(
        codec=codec or chosen.codec or "libx264",
        crf=crf if crf is not None else (chosen.crf if codec in (None, chosen.codec) else None),
        preset=chosen.preset if codec in (None, chosen.codec) else None,
        pixel_format=chosen.pixel_format,
        overwrite=overwrite,
    )
    restore = RestoreOptions(
        strength=1.0 if chosen.strength is None else chosen.strength, deinterlace=bool(chosen.deinterlace)
    )
    cores = len(os.sched_getaffinity(0))

    def job_of(file: BatchFile) -> Job:
        return Job(
            source=file.source,
            destination=file.destination,
            model=model or chosen.model or "stream",
            runtime=runtime or chosen.runtime or "auto",
            threads=threads or (1 if ray is not None else max(1, cores // jobs)),
            partial=partial,
            encode=options,
            restore=restore,
            segment=segment,
        )

    def look() -> list[BatchFile]:
        return gather(sources, folder, container or chosen.container)

    from pipeline.commands.batch_rounds import Rounds

    rounds = Rounds(job_of, overwrite=overwrite, quiet=quiet)
    if dry_run:
        rounds.tell(look())
        return
    asked: list[float] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: asked.append(time.monotonic()))
    if ray is not None or split:
        from pipeline.split_batch import SplitBatch, runner_for

        runner: Batch | SplitBatch = SplitBatch(runner_for(ray, jobs, retries), split, restart=restart)
    else:
        runner = Batch(jobs, retries=retries, restart=restart)
    with runner:
        done = rounds.run(runner, look, lambda: bool(asked), stable if watch else None)
    from pipeline.batch_report import FAILED, show, write_report

    if report:
        write_report(done, report)
    if not quiet:
        from rich.console import Console

        show(done, Console(file=sys.stderr))
    if asked and not watch:
        raise KeyboardInterrupt
    if done.totals[FAILED]:
        raise typer.Exit(1)
