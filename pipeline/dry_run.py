"""`derain run --dry-run`: what a job would do, found out without writing or deraining anything.

The source is opened and its first frame decoded, the muxer is asked what it can hold, and the network is loaded to know
its runtime; so what is told is what would happen.
"""

from __future__ import annotations

import os

import msgspec

from pipeline.errors import DerainError
from pipeline.films import layer_job
from pipeline.frame import StreamInfo
from pipeline.hdr import is_hdr
from pipeline.job import IDENTITY, Job
from pipeline.memory import free_megabytes, plan_memory
from pipeline.picture_names import is_picture
from pipeline.rain_layer import layer_info
from pipeline.region import read_region
from pipeline.segments import WorkFolder
from pipeline.sinks.containers import check_codec, format_of
from pipeline.sinks.destination import is_folder
from pipeline.sinks.encoder import keeps_fields, left_out
from pipeline.sinks.geometry import not_kept
from pipeline.sinks.options import EncoderSettings, encoder_settings
from pipeline.sinks.temporary import check_destination
from pipeline.sources import open_source


class DryRun(msgspec.Struct, kw_only=True):
    """What would be done. `kept` and `dropped` are the source's other streams and what the output cannot hold."""

    source: str
    destination: str
    model: str
    runtime: str
    frames: int | None
    seconds: float | None
    size: tuple[int, int]
    codec_in: str
    pixel_format_in: str
    network_sees: str
    codec_out: str
    pixel_format_out: str
    container_out: str
    kept: list[str]
    dropped: list[str]
    notes: list[str]
    memory: str
    removed: str = ""
    """Which part of the rain, and where; "" for all of it."""
    rain_layer: str = ""
    """Where it is written, and how; "" where nobody asked for it."""

    def lines(self) -> list[tuple[str, str]]:
        """For people: what, and what is told of it."""
        length = f"{self.frames} frames" if self.frames is not None else "frames not counted beforehand"
        if self.seconds is not None:
            length += f", {self.seconds:.2f} s"
        width, height = self.size
        into = self.container_out or "pictures"
        return [
            ("source", f"{self.source}: {self.codec_in}, {width}x{height} {self.pixel_format_in}, {length}"),
            ("network", f"{self.model} on {self.runtime}, sees {self.network_sees}; {self.memory}"),
            ("destination", f"{self.destination}: {into}, {self.codec_out} {self.pixel_format_out}".rstrip()),
            *([("rain layer", self.rain_layer)] if self.rain_layer else []),
            *([("removed", self.removed)] if self.removed else []),
            *(("kept", one) for one in self.kept),
            *(("dropped", one) for one in self.dropped),
            *(("note", one) for one in self.notes),
        ]


def dry_run(job: Job) -> DryRun:
    """Find out what the job would do.

    Args:
        job: Checked by `check_job`.

    Raises:
        UsageError: What was asked for does not fit together.
        DerainError: The source cannot be read, or the job would need more memory than it may have.
    """
    restore = job.restore
    with open_source(
        job.source, partial=job.partial, native=not restore.eight_bit, deinterlace=restore.deinterlace
    ) as source:
        info, notes = source.info, list(source.warnings)
    runtime, memory = _network(job, info)
    told = DryRun(
        source=job.source,
        destination=job.destination,
        model=job.model,
        runtime=runtime,
        frames=info.frames,
        seconds=info.duration,
        size=(info.width, info.height),
        codec_in=info.source_codec,
        pixel_format_in=_described(info),
        network_sees=_seen(info, job),
        codec_out="",
        pixel_format_out="",
        container_out="",
        kept=[],
        dropped=[],
        notes=notes,
        memory=memory,
        removed=_removed(job, info),
    )
    if restore.save_rain:
        layer = layer_job(job)
        about = layer_info(info)
        into = "pictures"
        if not _makes_pictures(layer.destination, about):
            muxer, settings = _encoded(layer, about)
            into = f"{muxer}, {settings.codec} {settings.pixel_format}"
        told.rain_layer = f"{layer.destination}: {into}"
    if _makes_pictures(job.destination, info):
        told.codec_out = os.path.splitext(job.destination)[1].lstrip(".").lower() or "png, or as the source's names end"
    else:
        _video(job, info, told)
    return told


def _removed(job: Job, info: StreamInfo) -> str:
    """DerainError for a region that does not fit."""
    words = []
    if job.restore.strength != 1:
        words.append(f"{job.restore.strength:.0%} of the rain layer")
    if job.restore.region:
        read_region(job.restore.region, info)
        words.append(f"where {job.restore.region} is white")
    return ", ".join(words)


def _makes_pictures(destination: str, info: StreamInfo) -> bool:
    """UsageError for a single picture that cannot hold the stream."""
    from pipeline.sinks.pictures import check_picture

    check_picture(destination, info)
    return is_folder(destination) or is_picture(destination)


def _encoded(job: Job, info: StreamInfo) -> tuple[str, EncoderSettings]:
    """The container and the encoder. UsageError where they do not fit each other."""
    settings = encoder_settings(job.encode, info.pixel_format, info.width, info.height)
    muxer = format_of(job.destination)
    check_codec(job.destination, settings.codec)
    return muxer, settings


def _video(job: Job, info: StreamInfo, told: DryRun) -> None:
    from pipeline.sinks.companions import Companions

    muxer, settings = _encoded(job, info)
    if not WorkFolder(job.destination).is_placed():
        check_destination(job.destination, job.encode.overwrite)
    told.container_out, told.codec_out, told.pixel_format_out = muxer, settings.codec, settings.pixel_format
    if keeps_fields(info, settings):
        told.pixel_format_out += ", interlaced"
    told.notes += not_kept(info, muxer, settings.codec) + left_out(info, settings)
    if os.path.isfile(job.source) and not is_picture(job.source):
        companions = Companions(job.source, muxer, told.dropped)
        try:
            told.kept += companions.described()
        finally:
            companions.close()


def _described(info: StreamInfo) -> str:
    words = [info.source_pixel_format]
    if info.color_range == 2:
        words.append("full range")
    if is_hdr(info.color_trc):
        words.append("PQ" if info.color_trc == 16 else "HLG")
    if info.field_order > 1:
        words.append("interlaced")
    if info.rotation:
        words.append(f"rotated by {info.rotation}°")
    if info.sample_aspect_ratio and info.sample_aspect_ratio not in ((1, 1), (0, 1)):
        words.append("pixels {}:{}".format(*info.sample_aspect_ratio))
    return ", ".join(words)


def _seen(info: StreamInfo, job: Job) -> str:
    from pipeline.formats import pixel_format
    from pipeline.restore import SEEN

    if job.model == IDENTITY:
        return "nothing"
    seen = SEEN[pixel_format(info.pixel_format).kind]
    how = "" if seen == info.pixel_format else "8-bit "
    curve = " through a tone curve" if is_hdr(info.color_trc) else ""
    fields = ", field by field" if info.field_order > 1 else ""
    steps = f", each picture {job.restore.still_steps} times" if info.stills else ""
    return f"{how}{seen}{curve}{fields}{steps}"


def _network(job: Job, info: StreamInfo) -> tuple[str, str]:
    """The runtime, and the memory in words."""
    if job.model == IDENTITY:
        return "none", "no memory for a network"
    from esdnet import Derainer
    from esdnet.errors import ModelError

    try:
        runtime = Derainer(job.model, runtime=job.runtime, threads=job.threads or None).runtime
    except ModelError as error:
        raise DerainError(str(error)) from error
    plan = plan_memory(info, job.model, runtime, job.restore.max_memory, free_megabytes())
    return runtime, plan.in_words()
