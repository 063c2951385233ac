"""How to encode: what a user may ask for, checked against the encoders this FFmpeg has."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from pipeline.codec_devices import NVENC, has_encoder, on_device
from pipeline.errors import UsageError
from pipeline.sinks.choose_format import choose_format, like

_X26_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"),
)
_PRORES_PROFILES = ("proxy", "lt", "standard", "hq", "4444", "4444xq")


class EncodeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `derain run` passes on. Checked by `encoder_settings`, not here.

    Attributes:
        codec: FFmpeg's name of the encoder, or h264, h265, hevc, av1, vp9, prores for the usual encoder of that codec.
        crf: Constant quality, lower is better; None is the codec's default (near to transparent).
        preset: The encoder's speed, of ProRes the profile; None is its default.
        pixel_format: FFmpeg's name of the format to encode in; None takes what loses least of the source.
        threads: Encoder threads; 0 lets the encoder choose.
        overwrite: Replace the destination if it is there.
        device: Where to encode (`pipeline.codec_devices`).
    """

    codec: str = "libx264"
    crf: float | None = None
    preset: str | None = None
    pixel_format: str | None = None
    threads: int = 0
    overwrite: bool = False
    device: str = "cpu"


@dataclass(frozen=True)
class _Encoder:
    """One encoder as we use it."""

    crf: float | None  # default; None: has no such setting
    crf_range: tuple[int, int] = (0, 51)
    presets: tuple[str, ...] = ()
    preset_option: str = "preset"
    quality_option: str = "crf"
    lossless: bool = False
    even: bool = False  # counts a picture's size in whole chroma samples
    options: dict[str, str] = field(default_factory=dict)
    parameters: str = ""  # the option that takes parameters in the encoder's own language
    says_range: bool = True  # whether readers learn that YUV is of full range
    not_fed: str = ""  # formats it takes but that readers do not get back begin with this


_ENCODERS = {
    "libx264": _Encoder(18, presets=_X26_PRESETS, even=True, parameters="x264-params"),
    "libx265": _Encoder(
        *(20, (0, 51), _X26_PRESETS),
        even=True,
        options={"x265-params": "log-level=error"},
        parameters="x265-params",
        not_fed="yuva",
    ),
    "libsvtav1": _Encoder(24, (0, 63), tuple(str(n) for n in range(14)), parameters="svtav1-params"),
    "libaom-av1": _Encoder(24, (0, 63), tuple(str(n) for n in range(9)), "cpu-used"),
    "libvpx-vp9": _Encoder(
        *(24, (0, 63), tuple(str(n) for n in range(9)), "cpu-used"),
        options={"b": "0", "row-mt": "1"},
        not_fed="yuva",
    ),
    "prores_ks": _Encoder(
        None, presets=_PRORES_PROFILES, preset_option="profile", options={"vendor": "apl0"}, says_range=False
    ),
    **{
        name: _Encoder(
            *(quality, (0, 51), tuple(f"p{n}" for n in range(1, 8))),
            quality_option="cq",
            even=True,
            options={"rc": "vbr", "b": "0"},  # constant quality: no bit rate to keep to
        )
        for name, quality in (("h264_nvenc", 19), ("hevc_nvenc", 21), ("av1_nvenc", 25))
    },
    "ffv1": _Encoder(None, lossless=True, options={"level": "3", "slicecrc": "1", "g": "1"}),
}

_USUAL = {
    "prores": "prores_ks",
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
    parameters: str = ""  # the option that takes parameters in the encoder's own language
    says_range: bool = True  # whether readers learn that YUV is of full range


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
        if name not in NVENC.values() or has_encoder(name):  # built in everywhere, whether there is a GPU or not
            present.append(name)
    return present


def encoder_name(asked: EncodeOptions) -> str:
    """FFmpeg's name of the encoder that was asked for. UsageError where the device has no such codec."""
    return on_device(asked.device, _USUAL.get(asked.codec, asked.codec))


def encoder_settings(asked: EncodeOptions, pixel_format: str, width: int, height: int) -> EncoderSettings:
    """Turn what was asked into an encoder, the pixel format it is fed and its options.

    Args:
        asked: What the user wants.
        pixel_format: What the frames carry (`pipeline.formats`).
        width: Pixels.
        height: Pixels.

    Raises:
        UsageError: The codec is not here, or its crf, preset or pixel format is not one it knows.
    """
    name = encoder_name(asked)
    present = available_encoders()
    if name not in present:
        raise UsageError(f"--codec {asked.codec}: this FFmpeg has no such encoder; choose one of {', '.join(present)}")
    encoder = _ENCODERS[name]
    options = dict(encoder.options)
    if encoder.lossless and (asked.crf is not None or asked.preset is not None):
        raise UsageError(f"--codec {name} is lossless; leave --crf and --preset out")
    if encoder.crf is None:
        if asked.crf is not None:
            raise UsageError(f"--codec {name} has no --crf; its --preset is one of {', '.join(encoder.presets)}")
    else:
        crf = encoder.crf if asked.crf is None else asked.crf
        low, high = encoder.crf_range
        if not low <= crf <= high:
            raise UsageError(f"--crf {crf:g}: {name} takes {low} (best) to {high}")
        options[encoder.quality_option] = f"{crf:g}"
    if asked.preset is not None:
        if asked.preset not in encoder.presets:
            raise UsageError(f"--preset {asked.preset}: {name} takes {', '.join(encoder.presets)}")
        options[encoder.preset_option] = asked.preset
    fed = _fed_format(name, encoder, asked.pixel_format, pixel_format, width, height)
    if name == "prores_ks" and asked.preset is None:
        options["profile"] = "4444" if "444" in fed else "hq"
    return EncoderSettings(name, fed, options, encoder.parameters, encoder.says_range)


def _fed_format(name: str, encoder: _Encoder, asked: str | None, carried: str, width: int, height: int) -> str:
    from av.codec import Codec

    taken = [form.name for form in Codec(name, "w").video_formats or () if like(form.name)]
    taken = [form for form in taken if not (encoder.not_fed and form.startswith(encoder.not_fed))]
    if asked is None:
        return choose_format(taken, carried, width, height, encoder.even)
    if asked not in taken:
        raise UsageError(f"--pixel-format {asked}: {name} takes {', '.join(taken)}")
    return asked
