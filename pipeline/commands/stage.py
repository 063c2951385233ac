"""`derain stage decode|derain|encode`: one stage by itself, on a host of its own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipeline.hosts.doors import ClientDoor

stage = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Run one stage by itself: ipc:// on this host, tcp:// with keys between hosts. "
    "The derain stage listens; decode and encode stages of the same stream connect to it.",
)

Connect = Annotated[str, typer.Option(metavar="URL", help="The derain stage: tcp://HOST:PORT or ipc://PATH.")]
Stream = Annotated[str, typer.Option(help="Name of the stream, the same at its decode and its encode stage.")]
Key = Annotated[Path | None, typer.Option(metavar="FILE", help="Our .secret file (derain keys).")]
ServerKey = Annotated[Path | None, typer.Option(metavar="FILE", help="The derain stage's .public file.")]
Plain = Annotated[
    bool, typer.Option("--insecure-plain-tcp", help="tcp:// without keys: anybody may listen in and take part.")
]
Patience = Annotated[float, typer.Option(min=0, help="Seconds to wait for a stage that is not there; 0: for ever.")]
Largest = Annotated[int, typer.Option(min=1, metavar="MIB", help="Larger messages are refused.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No word about what happens.")]
Json = Annotated[bool, typer.Option("--json", help="End with one line of JSON on stdout.")]


@stage.command("decode")
def decode_stage(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="Video file, folder of pictures, or live: rtsp://… (docs/live.md).")
    ],
    connect: Connect,
    stream: Stream = "main",
    key: Key = None,
    server_key: ServerKey = None,
    insecure_plain_tcp: Plain = False,
    patience: Patience = 300.0,
    largest: Largest = 256,
    partial: Annotated[bool, typer.Option("--partial", help="Take a truncated file as far as it goes.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="End at the first frame that does not decode.")] = False,
    eight_bit: Annotated[bool, typer.Option("--8bit", help="Send 8 bits, 4:2:0, whatever the source has.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Send a file at its own pace, as if live.")] = False,
    stall_timeout: Annotated[float, typer.Option(help="Live: seconds without a frame: the source is lost.")] = 5.0,
    rtsp_transport: Annotated[str, typer.Option(help="Live: tcp or udp.")] = "tcp",
    wait: Annotated[bool, typer.Option("--wait", help="Live: wait for a source that is not there yet.")] = False,
    on_loss: Annotated[str, typer.Option(help="Live, source away: wait for it, or stop.")] = "wait",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Decode SRC and send its frames. Started again after a failure it goes on where it was.

    Of a live source the newest frame is sent whenever there is room, until Ctrl-C; a second one ends at once.
    """
    from pipeline.errors import UsageError
    from pipeline.hosts.decode import Decoded, decode
    from pipeline.hosts.sender import StreamSender
    from pipeline.live_status import LiveOrder
    from pipeline.sources.live_address import is_live_source

    door = _client_door(connect, key, server_key, insecure_plain_tcp, largest)
    result: Decoded
    if live or is_live_source(os.environ.get(source.removeprefix("env:"), source)):
        from pipeline.hosts.decode_live import decode_live
        from pipeline.redact import hide_arguments

        if rtsp_transport not in ("tcp", "udp"):
            raise UsageError(f"--rtsp-transport {rtsp_transport}: choose tcp or udp")
        if on_loss not in ("wait", "stop"):
            raise UsageError(f"--on-loss {on_loss}: choose wait or stop (what is shown, the encode stage chooses)")
        hide_arguments(sys.argv[1:])
        order = LiveOrder(
            id=stream, source=source, audio=False, stall_timeout=stall_timeout, wait_for_source=wait,
            rtsp_transport="udp" if rtsp_transport == "udp" else "tcp", model="identity",
            on_loss="stop" if on_loss == "stop" else "freeze",
        )  # fmt: skip
        asked = _asked_to_stop()
        with (
            _Interruptible(),
            StreamSender(door, stream, live=True, patience=patience, stop=lambda: asked(2), say=_say(quiet)) as link,
        ):
            result = decode_live(order, link, asked)
    else:
        stopped = _asked_to_stop()
        with _Interruptible(), StreamSender(door, stream, patience=patience, stop=stopped, say=_say(quiet)) as link:
            result = decode(source, link, partial=partial, strict=strict, native=not eight_bit)
    _tell(result, json, quiet, f"stream {stream}: {result.frames} frames sent and written")


@stage.command("encode")
def encode_stage(
    destinations: Annotated[
        list[str], typer.Argument(metavar="DST…", help="Video file or folder of pictures; live: rtmp://… too, several.")
    ],
    connect: Connect,
    stream: Stream = "main",
    key: Key = None,
    server_key: ServerKey = None,
    insecure_plain_tcp: Plain = False,
    patience: Patience = 300.0,
    largest: Largest = 256,
    source: Annotated[str, typer.Option(help="The source, if this host can read it: its sound is copied.")] = "",
    codec: Annotated[str, typer.Option(help="Encoder: libx264, libx265, libsvtav1, ffv1 (lossless) …")] = "libx264",
    crf: Annotated[float | None, typer.Option(help="Constant quality, lower is better; default by codec.")] = None,
    preset: Annotated[str | None, typer.Option(help="Speed of the encoder, as it names them.")] = None,
    pixel_format: Annotated[str | None, typer.Option(help="Of the output; default: as the source.")] = None,
    gop: Annotated[float, typer.Option(help="Live: seconds between keyframes.")] = 2.0,
    segment_time: Annotated[float, typer.Option(help="Live: seconds of a rolling segment.")] = 60.0,
    keep: Annotated[int, typer.Option(min=0, help="Live: rolling segments to keep; 0: all.")] = 0,
    on_loss: Annotated[str, typer.Option(help="Live, no frames: show the last (freeze), or a slate.")] = "freeze",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the destination.")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write the derained frames of a stream to DST, which appears when it is whole; or where the source is live,
    which is written at once and may be what derain run takes: rtmp://…, NAME.m3u8, cam-%Y%m%d-%H%M%S.mkv.

    Only pictures come over the link; sound, subtitles and chapters are copied from --source. Ctrl-C or SIGTERM closes
    what a live stream has written; of a file it leaves nothing.
    """
    from pipeline.errors import DerainError, UsageError
    from pipeline.hosts.encode import check, encode
    from pipeline.hosts.receiver import StreamReceiver
    from pipeline.live_status import LiveOrder
    from pipeline.redact import hide_arguments, redact
    from pipeline.sinks.options import EncodeOptions

    if source and not os.path.isfile(source):
        raise DerainError(f"--source {source}: no such file on this host")
    if on_loss not in ("freeze", "slate"):
        raise UsageError(f"--on-loss {on_loss}: choose freeze or slate (decode stages can stop)")
    options = EncodeOptions(codec=codec, crf=crf, preset=preset, pixel_format=pixel_format, overwrite=overwrite)
    live = LiveOrder(
        id=stream, source="", destinations=destinations, codec=codec, crf=crf, preset=preset, gop=gop, audio=False,
        segment_time=segment_time, keep_segments=keep, overwrite=overwrite,
        on_loss="slate" if on_loss == "slate" else "freeze",
    )  # fmt: skip
    shown = ", ".join(redact(destination) for destination in destinations)
    if any(redact(destination) != destination for destination in destinations):
        hide_arguments(sys.argv[1:])
    check(destinations, options)
    door = _client_door(connect, key, server_key, insecure_plain_tcp, largest)
    stopped = _asked_to_stop()
    with _Interruptible(), StreamReceiver(door, stream, patience=patience, stop=stopped, say=_say(quiet)) as link:
        result = encode(destinations[0], link, options, source, live)
    _tell(result, json, quiet, f"{shown}: {result.frames} frames")


@stage.command("derain")
def derain_stage(
    listen: Annotated[str, typer.Option(metavar="URL", help="Where to listen: tcp://*:PORT or ipc://PATH.")],
    model: Annotated[str, typer.Option(help="Name (see derain models), .safetensors or .pth; identity: none.")] = (
        "stream"
    ),
    runtime: Annotated[str, typer.Option(help="How the network runs; auto takes the best here.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, max=1024, help="CPU threads of the network; 0: one a core.")] = 0,
    scene_cut: Annotated[bool, typer.Option(help="Whether a scene cut makes the network forget.")] = True,
    strength: Annotated[float, typer.Option(min=0, max=1, help="Share of the rain layer to remove.")] = 1.0,
    key: Key = None,
    allow: Annotated[Path | None, typer.Option(metavar="FILE", help="Public keys that may connect, one a line.")] = (
        None
    ),
    insecure_plain_tcp: Plain = False,
    batch_wait: Annotated[float, typer.Option(min=0, help="Milliseconds that a frame waits for other streams'.")] = 4.0,
    patience: Patience = 300.0,
    largest: Largest = 256,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Derain the frames of all streams whose stages connect, those that are ready together. Ends on SIGTERM or Ctrl-C.

    What it held is not lost then: the stages wait (--patience), and go on with the next derain stage at this address.
    """
    from pipeline.batcher import Batcher
    from pipeline.hosts.doors import ServerDoor
    from pipeline.hosts.server import DerainServer
    from pipeline.job import Job, check_model
    from pipeline.keys import read_secret
    from pipeline.restore_options import RestoreOptions

    check_model(model)
    pair = read_secret(key) if key else None
    door = ServerDoor(listen, pair, allow, insecure_plain_tcp, largest << 20)
    stopped = _asked_to_stop()
    job = Job(
        source="", destination="", model=model, runtime=runtime, threads=threads, scene_cuts=scene_cut,
        restore=RestoreOptions(strength=strength),
    )  # fmt: skip
    batcher = Batcher(job)
    say = _say(quiet)
    server = DerainServer(door, batcher, batch_wait=batch_wait / 1000, patience=patience, say=say)
    try:
        say(f"listening at {server.url}: {model} on {batcher.runtime}")
        result = server.run(stopped)
    finally:
        server.close()
    steps = f" in {result.steps} steps" if result.steps else ""
    _tell(result, json, quiet, f"{result.streams} streams, {result.frames} frames{steps}")


def _client_door(url: str, key: Path | None, server: Path | None, plain: bool, largest: int) -> ClientDoor:
    from pipeline.hosts.doors import ClientDoor
    from pipeline.keys import read_public, read_secret

    pair, public = read_secret(key) if key else None, read_public(server) if server else None
    return ClientDoor(url, pair, public, plain, largest << 20)


def _asked_to_stop() -> Callable[..., bool]:
    """Whether we were asked to stop, `times` at least."""
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, lambda got, _frame: asked.append(got))
    return lambda times=1: len(asked) >= times


class _Interruptible:
    """A stage that was asked to stop leaves like any interrupted command."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, value: BaseException | None, _trace: object) -> None:
        from pipeline.link import Stopped

        if isinstance(value, Stopped):
            raise KeyboardInterrupt from value


def _say(quiet: bool) -> Callable[[str], None]:
    return lambda line: None if quiet else print(f"derain: {line}", file=sys.stderr, flush=True)


def _tell(result: Any, json: bool, quiet: bool, line: str) -> None:
    import msgspec

    for warning in getattr(result, "warnings", []):
        print(f"derain: note: {warning}", file=sys.stderr)
    if json:
        typer.echo(msgspec.json.encode(result).decode())
    elif not quiet:
        print(line, file=sys.stderr)
