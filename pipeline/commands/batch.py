"""`derain batch SRC… DST_DIR`: a library of videos, one result for each."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipeline.batch_files import BatchFile

_RESTORE: dict[str, Any] = {"rich_help_panel": "What is removed"}
_MANY: dict[str, Any] = {"rich_help_panel": "Many files, many machines"}


def batch(
    context: typer.Context,
    paths: Annotated[
        list[str], typer.Argument(metavar="SRC… DST_DIR", help="Files, folders, patterns, @lists; then where to.")
    ],
    preset: Annotated[str | None, typer.Option(help="archive, web, fast, or a .yaml file.")] = None,
    model: Annotated[str | None, typer.Option(help="As of derain run.")] = None,
    runtime: Annotated[str | None, typer.Option(help="How the network runs; auto takes the best here.")] = None,
    codec: Annotated[str | None, typer.Option(help="Encoder, as of derain run.")] = None,
    decode_device: Annotated[str, typer.Option(help="Where to decode: cpu, or nvdec (NVIDIA GPU).")] = "cpu",
    encode_device: Annotated[str, typer.Option(help="Where to encode: cpu, or nvenc (NVIDIA GPU).")] = "cpu",
    crf: Annotated[float | None, typer.Option(help="Constant quality, lower is better.")] = None,
    pixel_format: Annotated[str | None, typer.Option(help="Of the results; default: as each source.")] = None,
    container: Annotated[str | None, typer.Option(help="Ending of the results; default: the source's.")] = None,
    threads: Annotated[
        int, typer.Option(min=0, max=1024, help="CPU threads of a network; 0: the cores shared out.")
    ] = 0,
    scene_cut: Annotated[bool, typer.Option(help="Whether a scene cut makes the network forget.")] = True,
    partial: Annotated[bool, typer.Option("--partial", help="Take truncated files as far as they go.")] = False,
    segment: Annotated[float, typer.Option(min=0.1, help="Seconds of the segments of long files.")] = 10.0,
    resume: Annotated[bool, typer.Option(help="Write long files in segments, and go on with what was cut off.")] = True,
    restart: Annotated[bool, typer.Option("--restart", help="Throw away what was begun and cut off.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do again what is done.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="A file fails at its first damaged frame.")] = False,
    strength: Annotated[float | None, typer.Option(help="Share of the rain to remove, 0 to 1.", **_RESTORE)] = None,
    region: Annotated[str, typer.Option(help="Picture of the videos' size, white where to derain.", **_RESTORE)] = "",
    save_rain: Annotated[str, typer.Option(help="Folder for what was removed, in the same tree.", **_RESTORE)] = "",
    deinterlace: Annotated[bool | None, typer.Option(help="Make interlaced video progressive.", **_RESTORE)] = None,
    max_memory: Annotated[int, typer.Option(help="Megabytes for a network; 0: no bound.", **_RESTORE)] = 0,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=0, help="Files at a time; 0: as many as cores and memory allow.", **_MANY)
    ] = 0,
    retries: Annotated[int, typer.Option(min=0, help="Tries more where a worker or a node dies.", **_MANY)] = 1,
    stall_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds without progress after which a file has failed; 0: never.", **_MANY)
    ] = 900.0,
    watch: Annotated[bool, typer.Option("--watch", help="Look for new files until interrupted.", **_MANY)] = False,
    stable: Annotated[float, typer.Option(min=0, help="--watch: seconds a file may not change.", **_MANY)] = 5.0,
    split: Annotated[float, typer.Option(min=0, help="Cut files into parts of so many seconds; 0: no.", **_MANY)] = 0.0,
    exact: Annotated[bool, typer.Option("--exact", help="A file's parts in turn: no seam at all.", **_MANY)] = False,
    ray: Annotated[str | None, typer.Option(help="Address of a Ray cluster; local: one here.", **_MANY)] = None,
    report: Annotated[str | None, typer.Option(help="JSON file that says how each file went.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary; only what failed.")] = False,
) -> None:
    """Take the rain out of many videos. Folders keep their tree; what is done already is skipped.

    A bad file does not end the batch: at the end a table tells what failed and why, and the exit code is 1.
    """
    from pipeline.batch import Batch
    from pipeline.batch_files import gather
    from pipeline.batch_report import FAILED, check_report, show, tell_failed, write_report
    from pipeline.commands.batch_order import BatchOrder
    from pipeline.commands.batch_rounds import Rounds

    order = BatchOrder(context.params)
    if report:
        check_report(report)

    def look() -> list[BatchFile]:
        return gather(order.sources, order.folder, order.container, order.encoder)

    rounds = Rounds(order.job, overwrite=overwrite, quiet=quiet)
    files = [] if watch else look()
    if dry_run:
        rounds.tell(files if not watch else look())
        return
    order.share_out(len(rounds.waiting(files)))
    asked: list[float] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: asked.append(time.monotonic()))
    if order.parts:
        from pipeline.split_batch import SplitBatch, runner_for

        parts_by = runner_for(ray, order.at_once, retries, stall_timeout)
        runner: Batch | SplitBatch = SplitBatch(parts_by, split, restart=restart, exact=exact)
    else:
        runner = Batch(order.at_once, retries=retries, restart=restart, stall=stall_timeout)
    with runner:
        done = rounds.run(runner, look if watch else lambda: files, lambda: bool(asked), stable if watch else None)
    if report:
        write_report(done, report)
    if quiet:
        tell_failed(done)
    else:
        from rich.console import Console

        show(done, Console(file=sys.stderr))
    if asked and not watch:
        raise KeyboardInterrupt
    if done.totals[FAILED]:
        raise typer.Exit(1)
