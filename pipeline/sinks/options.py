"""How to encode: what a user may ask for, checked against the encoders this FFmpeg has."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from pipeline.errors import UsageError

_X26_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"),
)


class EncodeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `derain run` passes on. Checked by `encoder_settings`, not here.

    Attributes:
        codec: FFmpeg's name of the encoder, or h264, h265, hevc, av1, vp9 for the usual encoder of that codec.
        crf: Constant quality, lower is better; None is the codec's default (near to transparent).
        preset: The encoder's speed; None is its default.
        threads: Encoder threads; 0 lets the encoder choose.
        overwrite: Replace the destination if it is there.
    """

    codec: str = "libx264"
    crf: float | None = None
    preset: str | None = None
    threads: int = 0
    overwrite: bool = False


@dataclass(frozen=True)
class _Encoder:
    """One encoder as we use it."""

    formats: tuple[str, ...]  # pixel formats of ours it takes as they are
    crf: float | None  # default; None: lossless, has no such setting
    crf_range: tuple[int, int] = (0, 51)
    presets: tuple[str, ...] = ()
    preset_option: str = "preset"
    odd_format: str | None = None  # format to use when the size is odd, where 4:2:0 cannot have that
    options: dict[str, str] = field(default_factory=dict)


_ENCODERS = {
    # H.264 and H.265 count a picture's size in whole chroma samples, so 4:2:0 is always even there.
    "libx264": _Encoder(("yuv420p", "gray"), 18, presets=_X26_PRESETS, odd_format="yuv444p"),
    "libx265": _Encoder(
        *(("yuv420p", "gray"), 20),
        presets=_X26_PRESETS,
        odd_format="yuv444p",
        options={"x265-params": "log-level=error"},
    ),
    "libsvtav1": _Encoder(("yuv420p",), 24, (0, 63), tuple(str(n) for n in range(14))),
    "libaom-av1": _Encoder(("yuv420p", "gray"), 24, (0, 63), tuple(str(n) for n in range(9)), "cpu-used"),
    "libvpx-vp9": _Encoder(
        *(("yuv420p",), 24, (0, 63), tuple(str(n) for n in range(9)), "cpu-used"),
        options={"b": "0", "row-mt": "1"},
    ),
    "ffv1": _Encoder(("yuv420p", "gray", "bgr0"), None, options={"level": "3", "slicecrc": "1", "g": "1"}),
}

_USUAL = {
    "h264": "libx264",
    "x264": "libx264",
    "h265": "libx265",
    "hevc": "libx265",
    "x265": "libx265",
    "av1": "libsvtav1",
    "vp9": "libvpx-vp9",
}


@dataclass(frozen=True)
class EncoderSettings:
    """What FFmpeg needs to know to open the encoder."""

    codec: str  # encoder name
    pixel_format: str  # what it is fed
    options: dict[str, str]


def available_encoders() -> list[str]:
    """The encoders `--codec` may name on this machine."""
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    present = []
    for name in _ENCODERS:
        try:
            Codec(name, "w")
        except UnknownCodecError:
            continue
        present.append(name)
    return present


def encoder_settings(asked: EncodeOptions, pixel_format: str, width: int, height: int) -> EncoderSettings:
    """Turn what was asked into an encoder, the pixel format it is fed and its options.

    Args:
        asked: What the user wants.
        pixel_format: What the frames carry: "yuv420p", "gray" or "rgb24".
        width: Pixels.
        height: Pixels.

    Raises:
        UsageError: The codec is not here, or its crf or preset is not one it knows.
    """
    name = _USUAL.get(asked.codec, asked.codec)
    present = available_encoders()
    if name not in present:
        raise UsageError(f"--codec {asked.codec}: this FFmpeg has no such encoder; choose one of {', '.join(present)}")
    encoder = _ENCODERS[name]
    options = dict(encoder.options)
    if encoder.crf is None:
        if asked.crf is not None or asked.preset is not None:
            raise UsageError(f"--codec {name} is lossless; leave --crf and --preset out")
    else:
        crf = encoder.crf if asked.crf is None else asked.crf
        low, high = encoder.crf_range
        if not low <= crf <= high:
            raise UsageError(f"--crf {crf:g}: {name} takes {low} (best) to {high}")
        options["crf"] = f"{crf:g}"
    if asked.preset is not None:
        if asked.preset not in encoder.presets:
            raise UsageError(f"--preset {asked.preset}: {name} takes {', '.join(encoder.presets)}")
        options[encoder.preset_option] = asked.preset
    return EncoderSettings(name, _fed_format(encoder, pixel_format, width, height), options)


def _fed_format(encoder: _Encoder, pixel_format: str, width: int, height: int) -> str:
    if pixel_format == "rgb24":
        pixel_format = "bgr0" if "bgr0" in encoder.formats else "yuv420p"
    if pixel_format not in encoder.formats:
        pixel_format = "yuv420p"
    odd = width % 2 or height % 2
    if odd and pixel_format == "yuv420p" and encoder.odd_format:
        return encoder.odd_format
    return pixel_format
