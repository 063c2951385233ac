"""A job: one source derained into one destination. What the front checks before anything starts, and its result."""

from __future__ import annotations

import os

import msgspec

from pipeline.codec_devices import check_decoder, check_encoder
from pipeline.errors import BeingMade, DerainError, Made, UsageError
from pipeline.restore_options import RestoreOptions
from pipeline.restore_options import check as check_restore
from pipeline.sinks.options import EncodeOptions, encoder_name
from pipeline.sources.losses import Loss

IDENTITY = "identity"
"""The model that moves frames without a network, for measuring the pipeline by itself."""


SEGMENT_SECONDS = 10.0
"""Length of the segments that a long file is written in, unless asked otherwise."""
WARMUP = 32
"""Frames a network is shown before a part whose past it has not seen. More brings it no nearer to a network that never
stopped: a spiking network can take hundreds of frames to forget how it began (measured, see docs/offline.md)."""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of the source to derain, where it is not the whole (`pipeline.segments`). pts are the source's own."""

    number: int  # of the first segment that is written
    frame: int  # frames of the source before it
    tail: list[int]  # pts of the last of those, on which the membranes are warmed up
    marks: list[int] = []  # checksums of the frames of the tail (`FrameHeader.mark`), where they were decoded before
    first: int | None = None  # pts of its first frame, where that is known
    end: int | None = None  # pts of the first frame behind it; None: it goes on to the end
    timeline: tuple[int, int | None, int] | None = None  # of `pipeline.sinks.timeline`, where the frames before left it


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What `derain run` was asked for; every stage gets the whole of it."""

    source: str
    destination: str
    model: str = "stream"
    runtime: str = "auto"
    threads: int = 0  # of the network; 0: one a core
    scene_cuts: bool = True  # whether a cut resets the membranes
    partial: bool = False  # take a truncated file as far as it goes
    decode_device: str = "cpu"  # of `pipeline.codec_devices`
    encode: EncodeOptions = EncodeOptions()
    restore: RestoreOptions = RestoreOptions()
    segment: float = SEGMENT_SECONDS  # seconds; 0: the file is written in one go, and nothing is kept where that fails
    warmup: int = WARMUP  # frames the network is shown again before a segment that does not follow on
    piece: Piece | None = None  # None: all of the source
    single: bool = False  # the piece is one segment that others are made beside; whoever asked for it joins them
    exact: bool = False  # a single piece begins with the membranes that the one before has left, and leaves its own


class StageTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stage's time went, in seconds."""

    busy: float
    wait_in: float
    wait_out: float


class JobResult(msgspec.Struct, kw_only=True):
    """How a job went: the JSON line of `derain run --json`."""

    status: str  # "done", "failed" or "interrupted"; of a batch also "skipped", "being made", "not begun"
    source: str
    destination: str
    model: str
    runtime: str | None = None
    frames_in: int = 0
    frames_out: int = 0
    resumed: int = 0  # of the frames those that a run before this one had written
    damaged: int = 0
    lost: list[Loss] = []  # of the damaged frames the first thousand, with their time
    resets: dict[str, int] = {}
    fps: float = 0.0
    seconds: float = 0.0
    stages: dict[str, StageTimes] = {}
    warnings: list[str] = []
    error: str | None = None


def outcome(error: Exception) -> str:
    """The status of a job of a batch that ends with this error: another run may have made its result, or be at it."""
    return "skipped" if isinstance(error, Made) else "being made" if isinstance(error, BeingMade) else "failed"


def check_job(job: Job) -> None:
    """Everything that can be known to be wrong before a process is started.

    Raises:
        UsageError: What was asked for cannot be meant.
        DerainError: The source cannot be read or the destination cannot be written.
    """
    from pipeline.segments import WorkFolder  # which knows jobs

    if not job.source or not job.destination:
        raise UsageError("source and destination must not be empty")
    if "://" not in job.source and not os.path.exists(job.source):
        raise DerainError(f"{job.source}: no such file or folder")
    if os.path.exists(job.destination) and os.path.exists(job.source):
        if os.path.samefile(job.source, job.destination):
            raise UsageError(f"{job.destination}: is the source itself; choose another destination")
        if not job.encode.overwrite and not WorkFolder(job.destination).is_placed():
            raise Made(f"{job.destination}: exists already; choose another name or pass --overwrite")
    folder = os.path.dirname(os.path.abspath(job.destination.rstrip("/")))
    if not os.path.isdir(folder):
        raise DerainError(f"{job.destination}: there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DerainError(f"{job.destination}: no right to write into {folder}; choose another place")
    check_model(job.model)
    check_decoder(job.decode_device)
    check_encoder(job.encode.device, encoder_name(job.encode))
    check_restore(job.restore, job.destination, job.encode.overwrite)
    for option, asked in (("--save-rain", job.restore.save_rain), ("--region", job.restore.region)):
        if job.model == IDENTITY and asked:
            raise UsageError(f"{option}: --model {IDENTITY} removes nothing; name a network")


def check_model(model: str) -> None:
    """Names and paths only: weights are read where they are used."""
    if model == IDENTITY:
        return
    from esdnet.models import names

    if model in names():
        return
    if os.path.isfile(model):
        return
    if os.path.splitext(model)[1] in (".safetensors", ".pth", ".pt"):
        raise DerainError(f"{model}: no such file of weights")
    known = ", ".join((*names(), IDENTITY))
    raise UsageError(f"--model {model}: choose one of {known}, or give a .safetensors or .pth file")
