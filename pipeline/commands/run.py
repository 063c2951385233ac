"""`derain run SRC DST`: a video file, a folder of pictures or a live stream in, derained out."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipeline.job import Job

_LIVE: dict[str, Any] = {"rich_help_panel": "Live streams"}


def run(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC", help="Video file, picture, folder of pictures, or live: rtsp://… (docs/live.md)."
        ),
    ],
    destinations: Annotated[
        list[str],
        typer.Argument(metavar="DST…", help="Video file (its ending says which kind) or folder; live: several."),
    ],
    model: Annotated[
        str, typer.Option(help="Name (see derain models), .safetensors or .pth; identity: none. Live: stream-nano.")
    ] = "stream",
    runtime: Annotated[str, typer.Option(help="How the network runs; auto takes the best here.")] = "auto",
    codec: Annotated[str, typer.Option(help="Encoder: libx264, libx265, libsvtav1, ffv1 (lossless) …")] = "libx264",
    decode_device: Annotated[str, typer.Option(help="Where to decode: cpu, or nvdec (NVIDIA GPU).")] = "cpu",
    encode_device: Annotated[str, typer.Option(help="Where to encode: cpu, or nvenc (NVIDIA GPU).")] = "cpu",
    crf: Annotated[float | None, typer.Option(help="Constant quality, lower is better; default by codec.")] = None,
    preset: Annotated[str | None, typer.Option(help="Speed of the encoder, as it names them.")] = None,
    threads: Annotated[int, typer.Option(min=0, max=1024, help="CPU threads of the network; 0: one a core.")] = 0,
    scene_cut: Annotated[bool, typer.Option(help="Whether a scene cut makes the network forget.")] = True,
    partial: Annotated[bool, typer.Option("--partial", help="Take a truncated file as far as it goes.")] = False,
    segment: Annotated[float, typer.Option(min=0.1, help="Seconds of the segments a long file is written in.")] = 10.0,
    resume: Annotated[bool, typer.Option(help="Write in segments, and go on after a run that was cut off.")] = True,
    restart: Annotated[bool, typer.Option("--restart", help="Throw away what a run that was cut off left.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="End at the first frame that does not decode.")] = False,
    pixel_format: Annotated[str | None, typer.Option(help="Of the output; default: as the source.")] = None,
    deinterlace: Annotated[bool, typer.Option("--deinterlace", help="Make interlaced video progressive.")] = False,
    strength: Annotated[float, typer.Option(help="Share of the rain layer to remove, 0 to 1.")] = 1.0,
    region: Annotated[str, typer.Option(help="Picture of the video's size, white where to derain.")] = "",
    save_rain: Annotated[str, typer.Option(help="Video or folder for what was removed, on grey.")] = "",
    max_memory: Annotated[int, typer.Option(help="Megabytes for the network; 0: no bound.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the destination.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no summary.")] = False,
    json: Annotated[bool, typer.Option("--json", help="End with one line of JSON on stdout.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Play a file at its own pace, as if live.", **_LIVE)] = False,
    duration: Annotated[float | None, typer.Option(help="Stop after so many seconds.", **_LIVE)] = None,
    on_overload: Annotated[str, typer.Option(help="skip, downscale or passthrough.", **_LIVE)] = "skip",
    on_loss: Annotated[str, typer.Option(help="freeze, slate or stop.", **_LIVE)] = "freeze",
    stall_timeout: Annotated[float, typer.Option(help="Seconds without a frame that are a loss.", **_LIVE)] = 5.0,
    wait: Annotated[bool, typer.Option(help="Wait for a source that isn't there at the start.", **_LIVE)] = False,
    rtsp_transport: Annotated[str, typer.Option(help="tcp or udp.", **_LIVE)] = "tcp",
    gop: Annotated[float, typer.Option(help="Seconds between keyframes.", **_LIVE)] = 2.0,
    audio: Annotated[bool, typer.Option(help="Whether sound goes along.", **_LIVE)] = True,
    segment_time: Annotated[float, typer.Option(help="Seconds of a rolling segment.", **_LIVE)] = 60.0,
    keep: Annotated[int, typer.Option(min=0, help="Rolling segments to keep; 0: all.", **_LIVE)] = 0,
) -> None:
    """Take the rain out of a video or a folder of pictures.

    Timestamps, sound, subtitles, chapters, metadata, rotation and colour tags are kept. The destination appears when
    it is whole. A file of more than two segments' length can be cut off at any moment: run again, it goes on.

    From a camera or a stream it goes on until Ctrl-C, SIGTERM or --duration, and then closes every file.
    """
    import msgspec

    from pipeline.commands.live_order import check_offline, is_live, live_order

    given = {name for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")}
    if live or is_live(source, destinations):
        from pipeline.commands.run_live import run_live

        run_live(live_order(context.params, given), quiet=quiet, json=json)
        return
    check_offline(destinations, given)
    destination = destinations[0]
    from pipeline.errors import DerainError
    from pipeline.job import Job, JobResult, check_job
    from pipeline.offline import run_job
    from pipeline.progress import ProgressBar
    from pipeline.restore_options import RestoreOptions
    from pipeline.sinks.options import EncodeOptions
    from pipeline.supervisor import Interrupted
    from pipeline.time_spent import time_spent

    options = EncodeOptions(
        codec=codec, crf=crf, preset=preset, pixel_format=pixel_format, overwrite=overwrite, device=encode_device
    )
    restore = RestoreOptions(
        strength=strength, region=region, save_rain=save_rain, deinterlace=deinterlace, strict=strict,
        max_memory=max_memory,
    )  # fmt: skip
    job = Job(
        source=source, destination=destination, model=model, runtime=runtime, threads=threads,
        scene_cuts=scene_cut, partial=partial, decode_device=decode_device, encode=options,
        segment=segment if resume else 0.0,
        restore=restore,
    )  # fmt: skip
    asked_to_stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, lambda got, _frame: asked_to_stop.append(got))

    def say(result: JobResult) -> None:
        if json:
            typer.echo(msgspec.json.encode(result).decode())

    failed = JobResult(status="failed", source=source, destination=destination, model=model)
    try:
        check_job(job)
        if dry_run:
            _tell(job, json)
            return
        with ProgressBar(job, quiet=quiet or json) as bar:
            result = run_job(job, bar.watch, lambda: bool(asked_to_stop), restart=restart)
    except Interrupted as stopped:
        failed.status, failed.error = "interrupted", f"interrupted; {stopped}" if str(stopped) else "interrupted"
        say(failed)
        raise KeyboardInterrupt(str(stopped)) from stopped
    except DerainError as error:
        failed.error = str(error)
        say(failed)
        raise
    for warning in result.warnings:
        print(f"derain: note: {warning}", file=sys.stderr)
    say(result)
    if not (quiet or json):
        damaged = f", {result.damaged} damaged" if result.damaged else ""
        before = f" ({result.resumed} of them by an earlier run)" if result.resumed else ""
        cuts = result.resets.get("scene_cut", 0)
        how = "" if result.runtime == "none" else f" on {result.runtime}"
        print(
            f"{Path(destination)}: {result.frames_out} frames{before}{damaged} in {result.seconds:.1f} s "
            f"({result.fps:.1f} fps), {result.model}{how}" + (f", {cuts} scene cut{'s' * (cuts != 1)}" if cuts else ""),
            *time_spent(result.stages),
            sep="\n",
            file=sys.stderr,
        )


def _tell(job: Job, json: bool) -> None:
    """`--dry-run`: one line of JSON on stdout, or a table."""
    import msgspec

    from pipeline.dry_run import dry_run

    found = dry_run(job)
    if json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    for what, told in found.lines():
        typer.echo(f"{what:<12} {told}")
