"""One output stream and its encoder: size, clock, colours, pixel shape, rotation, fields and HDR metadata."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import TYPE_CHECKING

from esdnet import allowance
from pipeline.colour import CHROMA_LOCATIONS, LIMITED, UNSPECIFIED, is_full_range
from pipeline.errors import DerainError
from pipeline.formats import pixel_format
from pipeline.frame import StreamInfo
from pipeline.hdr import encoder_parameters
from pipeline.pixels import loss
from pipeline.sinks import scheduling, x264_cpu
from pipeline.sinks.choose_format import like
from pipeline.sinks.options import EncoderSettings

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

_BY_FIELDS = ("libx264", "prores_ks", "ffv1")
"""Encoders that can say which field of interlaced video comes first."""
TOP_FIRST = (2, 4)
"""AV_FIELD_TT and AV_FIELD_TB, which FFmpeg writes for frames whose top field comes first."""


def keeps_fields(info: StreamInfo, settings: EncoderSettings) -> bool:
    """Whether the stream is interlaced and its encoder can say so."""
    return info.field_order > 1 and settings.codec in _BY_FIELDS


def add_video(
    output: OutputContainer,
    info: StreamInfo,
    settings: EncoderSettings,
    rate: Fraction,
    time_base: Fraction,
    threads: int,
) -> VideoStream:
    """Add the video stream to a container and open its encoder.

    Args:
        output: Nothing written to it yet.
        info: The stream as it is once it is encoded (`pipeline.colour.encoded_tags`).
        settings: The encoder.
        rate: Frames a second, which the encoder counts by.
        time_base: Seconds a tick, by which packets are muxed.
        threads: Of the encoder; 0 lets it choose.

    Raises:
        DerainError: The encoder does not take such pictures.
    """
    import av.error
    from av.codec.context import Flags
    from av.video.stream import VideoStream

    if settings.codec == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # it writes to stderr past FFmpeg; 1 is errors only
    stream = output.add_stream(settings.codec, rate=rate, options=_options(info, settings))
    assert isinstance(stream, VideoStream)
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = info.width, info.height, settings.pixel_format
    context.time_base, stream.time_base = 1 / rate, time_base
    context.flags |= Flags.frame_duration
    if keeps_fields(info, settings):
        context.field_order = info.field_order
        context.flags |= Flags.interlaced_dct | Flags.interlaced_me
    context.thread_count = threads or allowance.codec_threads()
    context.thread_type = "AUTO"  # PyAV's own default makes x264 cut frames in slices
    if info.sample_aspect_ratio:
        context.sample_aspect_ratio = Fraction(*info.sample_aspect_ratio)
    context.color_range = info.color_range
    context.color_primaries = info.color_primaries
    context.color_trc = info.color_trc
    context.colorspace = info.colorspace
    if info.display_matrix:
        stream.set_display_matrix(info.display_matrix)
    elif info.rotation:
        stream.set_display_rotation(info.rotation)
    try:
        with scheduling.kept():
            context.open()
    except av.error.FFmpegError as error:
        picture = f"{info.width}x{info.height} {settings.pixel_format}"
        raise DerainError(f"{settings.codec} cannot encode {picture}; use another --codec") from error
    return stream


def _options(info: StreamInfo, settings: EncoderSettings) -> dict[str, str]:
    options = dict(settings.options)
    parameters = encoder_parameters(settings.codec, info.mastering_display, info.content_light)
    untagged = {info.color_primaries, info.color_trc, info.colorspace} == {UNSPECIFIED}
    if settings.codec == "libx264" and info.color_range == LIMITED and untagged:
        parameters["videoformat"] = "component"  # else x264 writes no colour tags, nor the range
    if settings.codec == "libx264" and keeps_fields(info, settings):
        parameters["tff" if info.field_order in TOP_FIRST else "bff"] = "1"
    if settings.codec == "libx264" and (asm := x264_cpu.instructions()):
        parameters["asm"] = asm
    if parameters:
        known = options.get(settings.parameters)
        options[settings.parameters] = ":".join(
            [*([known] if known else []), *(f"{name}={value}" for name, value in parameters.items())]
        )
    if info.chroma_location:
        options["chroma_sample_location"] = CHROMA_LOCATIONS[info.chroma_location]
    return options


def left_out(info: StreamInfo, settings: EncoderSettings) -> list[str]:
    """What of the stream the encoder cannot keep, one sentence each.

    Args:
        info: The stream as its source describes it.
        settings: The encoder.
    """
    told = []
    carried = info.pixel_format
    source, fed = pixel_format(carried), like(settings.pixel_format)
    odd = info.width % 2 or info.height % 2
    if odd and fed and source.kind == fed.kind == "yuv" and fed.shift < source.shift:
        names = {(0, 0): "4:4:4", (1, 0): "4:2:2", (1, 1): "4:2:0"}
        was, made = names.get(source.shift, "such chroma"), names[fed.shift]
        told.append(f"{info.width}x{info.height} is odd, which {settings.codec} has no {was} for: encoded as {made}")
    elif fed and not (source.packed and source.bits == 8 and not source.alpha) and (lost := loss(carried, fed.name)):
        instead = _instead(source.alpha and not fed.alpha, settings.codec)
        told.append(f"{carried} is encoded as {settings.pixel_format}: {lost}; {instead}")
    if not settings.says_range and is_full_range(info) and source.kind != "rgb":
        told.append(f"full range becomes limited range, the only one {settings.codec} knows")
    if info.field_order > 1 and not keeps_fields(info, settings):
        told.append(
            f"the video is interlaced, which {settings.codec} cannot say: use {', '.join(_BY_FIELDS)}, or --deinterlace"
        )
    known = encoder_parameters(settings.codec, info.mastering_display, info.content_light)
    if (info.mastering_display or info.content_light) and not known:
        told.append(f"the HDR metadata are left out: {settings.codec} takes none; use libx265, libx264 or libsvtav1")
    return told


def _instead(alpha: bool, codec: str) -> str:
    return (
        "--codec ffv1 or prores keep it"
        if alpha
        else "--codec ffv1 keeps it"
        if codec != "ffv1"
        else "no codec keeps it"
    )
