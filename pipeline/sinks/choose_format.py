"""Which pixel format an encoder is fed: the one of those it takes that loses least of what the frames carry."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.formats import PixelFormat, is_carried, pixel_format

_AS = {"bgr0": "gbrp", "bgra": "gbrap"}
"""Formats only encoders take, and ours that they are the same as."""


def like(name: str) -> PixelFormat | None:
    """The format of ours that holds the same samples; None for those we have no use for."""
    name = _AS.get(name, name)
    return pixel_format(name) if is_carried(name) else None


def choose_format(taken: Sequence[str], carried: str, width: int, height: int, even: bool) -> str:
    """The best of an encoder's formats for frames of one of ours.

    Args:
        taken: FFmpeg's names of what the encoder takes.
        carried: What the frames carry.
        width: Pixels.
        height: Pixels.
        even: Whether the encoder counts sizes in whole chroma samples, so that chroma may not be smaller than luma
            where a size is odd.
    """
    source = pixel_format(carried)
    if source.packed and not any(_is_rgb(name) for name in taken):
        # pictures that become a video have no chroma of their own to keep
        source = pixel_format("yuv420p" if source.bits == 8 else f"yuv420p{source.bits}le")
    fitting = [(name, form) for name in taken if (form := like(name)) and not (even and _splits(form, width, height))]
    return min(fitting, key=lambda pair: _loss(source, pair[1]))[0]


def _is_rgb(name: str) -> bool:
    form = like(name)
    return form is not None and form.kind == "rgb"


def _splits(form: PixelFormat, width: int, height: int) -> bool:
    return bool(width % (1 << form.shift[0]) or height % (1 << form.shift[1]))


def _loss(source: PixelFormat, form: PixelFormat) -> tuple[int, ...]:
    """What is lost, the worst first; then what is wasted. 8 bits more of a sample weigh as much as half the chroma."""
    colour_lost = source.kind != "gray" and form.kind == "gray"
    turned = source.kind != "gray" and form.kind != source.kind
    chroma_lost = (
        sum(max(0, f - s) for f, s in zip(form.shift, source.shift, strict=True)) if source.kind != "gray" else 0
    )
    bits_lost = max(0, source.bits - form.bits)
    chroma_more = sum(max(0, s - f) for f, s in zip(form.shift, source.shift, strict=True))
    if source.kind == "gray":
        chroma_more = 0 if form.kind == "gray" else 9 - sum(form.shift)
    return (
        int(colour_lost),
        int(source.alpha and not form.alpha),
        -(-bits_lost // 2) + 2 * chroma_lost + int(turned),
        max(0, form.bits - source.bits) + 8 * chroma_more + 16 * int(form.alpha and not source.alpha),
    )
