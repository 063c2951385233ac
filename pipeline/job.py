"""A job: one source derained into one destination. What the front checks before anything starts, and its result."""

from __future__ import annotations

import os

import msgspec

from pipeline.errors import DerainError, UsageError
from pipeline.restore_options import RestoreOptions
from pipeline.restore_options import check as check_restore
from pipeline.sinks.options import EncodeOptions
from pipeline.sources.losses import Loss

IDENTITY = "identity"
"""The model that moves frames without a network, for measuring the pipeline by itself."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What `derain run` was asked for; every stage gets the whole of it."""

    source: str
    destination: str
    model: str = "stream"
    runtime: str = "auto"
    threads: int = 0  # of the network; 0: one a core
    scene_cuts: bool = True  # whether a cut resets the membranes
    partial: bool = False  # take a truncated file as far as it goes
    encode: EncodeOptions = EncodeOptions()
    restore: RestoreOptions = RestoreOptions()


class StageTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stage's time went, in seconds."""

    busy: float
    wait_in: float
    wait_out: float


class JobResult(msgspec.Struct, kw_only=True):
    """How a job went: the JSON line of `derain run --json`."""

    status: str  # "done", "failed" or "interrupted"
    source: str
    destination: str
    model: str
    runtime: str | None = None
    frames_in: int = 0
    frames_out: int = 0
    damaged: int = 0
    lost: list[Loss] = []  # of the damaged frames the first thousand, with their time
    resets: dict[str, int] = {}
    fps: float = 0.0
    seconds: float = 0.0
    stages: dict[str, StageTimes] = {}
    warnings: list[str] = []
    error: str | None = None


def check_job(job: Job) -> None:
    """Everything that can be known to be wrong before a process is started.

    Raises:
        UsageError: What was asked for cannot be meant.
        DerainError: The source cannot be read or the destination cannot be written.
    """
    if not job.source or not job.destination:
        raise UsageError("source and destination must not be empty")
    if "://" not in job.source and not os.path.exists(job.source):
        raise DerainError(f"{job.source}: no such file or folder")
    if os.path.exists(job.destination) and os.path.exists(job.source):
        if os.path.samefile(job.source, job.destination):
            raise UsageError(f"{job.destination}: is the source itself; choose another destination")
        if not job.encode.overwrite:
            raise DerainError(f"{job.destination}: exists already; choose another name or pass --overwrite")
    folder = os.path.dirname(os.path.abspath(job.destination.rstrip("/")))
    if not os.path.isdir(folder):
        raise DerainError(f"{job.destination}: there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DerainError(f"{job.destination}: no right to write into {folder}; choose another place")
    _check_model(job.model)
    check_restore(job.restore, job.destination, job.encode.overwrite)


def _check_model(model: str) -> None:
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
