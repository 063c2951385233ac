"""A video frame on its way through the stages, and what its stream is: the nouns every room of `pipeline` shares.

The header structs are msgspec so that `link.py` can put them on the wire; the pixels never go through msgspec,
they travel as the second ZeroMQ part.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import msgspec
import numpy as np
from numpy.typing import NDArray

Rational = tuple[int, int]
"""Numerator and denominator, as FFmpeg's AVRational."""


class StreamInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of a video stream as a whole. Sent once, before its first frame.

    Colour fields are FFmpeg's integers (AVCOL_*); 0 or 2 stand for "unspecified" exactly as the container said.
    """

    width: int
    height: int
    pixel_format: str  # what frames of this stream carry: "yuv420p" or "gray" (8 bit); "rgb24" for pictures
    time_base: Rational  # seconds per pts tick
    average_rate: Rational | None = None  # frames a second
    frames: int | None = None  # how many are expected, where the container or the folder tells
    duration: float | None = None  # seconds, where known
    sample_aspect_ratio: Rational | None = None
    rotation: int = 0  # degrees of the display matrix, counter-clockwise
    display_matrix: tuple[int, ...] | None = None  # its nine numbers (AV_PKT_DATA_DISPLAYMATRIX), which also tell flips
    color_range: int = 0  # AVCOL_RANGE_*: 1 limited (MPEG), 2 full (JPEG)
    color_primaries: int = 2
    color_trc: int = 2
    colorspace: int = 2
    chroma_location: int = 0
    source_pixel_format: str = ""  # what the file itself holds, e.g. "yuvj420p"
    source_codec: str = ""


class FrameHeader(msgspec.Struct, frozen=True, kw_only=True):
    """One frame without its pixels. `pts` and `duration` are in ticks of the stream's time base."""

    index: int  # 0, 1, 2 … in presentation order
    pts: int
    width: int
    height: int
    pixel_format: str
    duration: int = 0
    interlaced: bool = False
    name: str = ""  # file name without folder, for frames that come from a folder of pictures


@dataclass(slots=True)
class Frame:
    """Header and pixels. `pixels` is one flat uint8 array: the planes in order, each tightly packed by rows."""

    header: FrameHeader
    pixels: NDArray[np.uint8]

    def planes(self) -> list[NDArray[np.uint8]]:
        """Views (no copy) on the planes: Y, U, V of yuv420p; one of gray; one (H, W, 3) of rgb24."""
        shapes = plane_shapes(self.header.pixel_format, self.header.width, self.header.height)
        views, start = [], 0
        for shape in shapes:
            size = int(np.prod(shape))
            views.append(self.pixels[start : start + size].reshape(shape))
            start += size
        return views


def plane_shapes(pixel_format: str, width: int, height: int) -> list[tuple[int, ...]]:
    """Shapes of the planes of a frame; chroma of odd sizes is rounded up. ValueError for a format we do not carry."""
    if pixel_format == "yuv420p":
        chroma = ((height + 1) // 2, (width + 1) // 2)
        return [(height, width), chroma, chroma]
    if pixel_format == "gray":
        return [(height, width)]
    if pixel_format == "rgb24":
        return [(height, width, 3)]
    raise ValueError(f"pixel format {pixel_format!r} is not one of yuv420p, gray, rgb24")


def frame_bytes(pixel_format: str, width: int, height: int) -> int:
    """How many bytes the pixels of one frame take."""
    return sum(int(np.prod(shape)) for shape in plane_shapes(pixel_format, width, height))


def fraction(value: Rational) -> Fraction:
    return Fraction(value[0], value[1])
