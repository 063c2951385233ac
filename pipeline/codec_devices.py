"""Where video is decoded and encoded: on the processor, or by an NVIDIA GPU's own units (NVDEC, NVENC).

Frames cross from stage to stage as bytes in main memory, so a frame that NVDEC has decoded is brought down at once
(as NV12 or P010, which loses nothing), and NVENC takes frames up from there. A device that was asked for by name and is
not there is an error, and so is a video it cannot decode: never software instead.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from pipeline.errors import DerainError, UsageError

if TYPE_CHECKING:
    from av.codec.hwaccel import HWAccel
    from av.video.stream import VideoStream

DECODERS = ("cpu", "nvdec")
ENCODERS = ("cpu", "nvenc")
NVENC = {"libx264": "h264_nvenc", "libx265": "hevc_nvenc", "libsvtav1": "av1_nvenc"}
"""The encoder on the processor -> the GPU's for the same codec."""
_SIDE = 256  # of the picture that a device is tried with; NVENC refuses much smaller ones
_NEEDS = "needs an NVIDIA GPU and its driver, which are not here or do not work (nvidia-smi tells)"


def check_decoder(device: str) -> None:
    """Raises:
    UsageError: There is no such device.
    DerainError: It is not on this machine.
    """
    if device not in DECODERS:
        raise UsageError(f"--decode-device {device}: choose {' or '.join(DECODERS)}")
    if device == "nvdec" and not has_nvdec():
        raise DerainError(f"--decode-device nvdec {_NEEDS}; leave it out to decode on the processor")


def check_encoder(device: str, codec: str) -> None:
    """As `check_decoder`; `codec` is an encoder's name as FFmpeg has it, which may be NVENC's own."""
    if device not in ENCODERS:
        raise UsageError(f"--encode-device {device}: choose {' or '.join(ENCODERS)}")
    encoder = on_device(device, codec)
    if encoder in NVENC.values() and not has_encoder(encoder):
        asked = "--encode-device nvenc" if device == "nvenc" else f"--codec {codec}"
        raise DerainError(f"{asked} {_NEEDS}, or this GPU has no {encoder}; leave it out to encode on the processor")


def on_device(device: str, encoder: str) -> str:
    """The encoder that does on `device` what `encoder` does. UsageError where NVENC has no such codec."""
    if device != "nvenc" or encoder in NVENC.values():
        return encoder
    if encoder not in NVENC:
        raise UsageError(f"--encode-device nvenc: encodes h264, h265 and av1, not {encoder}")
    return NVENC[encoder]


def decoding_on(device: str) -> HWAccel | None:
    """What `av.open` is given; None for the processor."""
    if device != "nvdec":
        return None
    from av.codec.hwaccel import HWAccel

    return HWAccel("cuda", allow_software_fallback=False)


def check_decoded(stream: VideoStream, device: str, path: str) -> None:
    """DerainError where NVDEC does not know the stream's codec: PyAV then decodes on the processor and says nothing."""
    if device == "nvdec" and not stream.codec_context.is_hwaccel:
        name = stream.codec_context.codec.canonical_name
        raise DerainError(f"{path}: NVDEC does not decode {name}; leave --decode-device out")


@lru_cache
def has_nvdec() -> bool:
    """Whether a CUDA device opens for decoding."""
    import av.error
    from av.codec import Codec
    from av.codec.hwaccel import HWAccel

    try:
        HWAccel("cuda").create(Codec("h264", "r"))
    except (av.error.FFmpegError, NotImplementedError):
        return False
    return True


@lru_cache
def has_encoder(name: str) -> bool:
    """Whether NVENC's encoder of that name opens."""
    from fractions import Fraction

    import av
    import av.error
    from av.codec.codec import UnknownCodecError
    from av.video.codeccontext import VideoCodecContext

    try:
        context = av.CodecContext.create(name, "w")
        assert isinstance(context, VideoCodecContext)
        context.width = context.height = _SIDE
        context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 25)
        context.open()
    except (UnknownCodecError, av.error.FFmpegError):
        return False
    return True
