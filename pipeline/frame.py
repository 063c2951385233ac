"""A video frame on its way through the stages, and what its stream is: the nouns every room of `pipeline` shares.

The header structs are msgspec so that `link.py` can put them on the wire; the pixels never go through msgspec,
they travel as the second ZeroMQ part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline import formats

if TYPE_CHECKING:  # the front knows frames too, and starts in half the time without it
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
    pixel_format: str  # what frames of this stream carry (`pipeline.formats`): "yuv420p", "yuv422p10le", "rgb24" …
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
    field_order: int = 0  # AV_FIELD_* of interlaced video: 2 and 4 top first, 3 and 5 bottom first
    mastering_display: tuple[int, ...] | None = None  # AVMasteringDisplayMetadata as 20 int32, see `pipeline.hdr`
    content_light: tuple[int, int] | None = None  # MaxCLL and MaxFALL, in cd/m²
    stills: bool = False  # frames are pictures that have nothing to do with each other
    sound: bool = False  # live: sound goes beside the frames
    live: bool = False  # between hosts: what is missed can't be decoded again


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
    mark: int = 0  # checksum of a few of the pixels as they were decoded; 0: none was made
    warmup: bool = False  # shown to the network so that it remembers, not written: it lies before a resumed segment
    begins: bool = False  # a segment begins with it (`pipeline.segmenting`)
    reset: str = ""  # why the membranes were zeroed before this frame; known behind the derain stage
    read_at: float = 0.0  # live: when it was read, in seconds of this machine's monotonic clock; 0: nobody noted it


@dataclass(slots=True)
class Frame:
    """Header and pixels. `pixels` is one flat uint8 array: the planes in order, each tightly packed by rows, of
    deeper formats with two bytes a sample."""

    header: FrameHeader
    pixels: NDArray[np.uint8]

    def planes(self) -> list[NDArray[Any]]:
        """Views (no copy) on the planes: Y, U, V of yuv420p; one of gray; one (H, W, 3) of rgb24; G, B, R of gbrp.

        Samples of more than 8 bits are little-endian uint16 (see `pipeline.formats`).
        """
        form = formats.pixel_format(self.header.pixel_format)
        views, start = [], 0
        for shape in form.shapes(self.header.width, self.header.height):
            size = math.prod(shape) * form.itemsize
            views.append(self.pixels[start : start + size].view(form.dtype).reshape(shape))
            start += size
        return views


def plane_shapes(pixel_format: str, width: int, height: int) -> list[tuple[int, ...]]:
    """Shapes of the planes of a frame; chroma of odd sizes is rounded up. ValueError for a format we do not carry."""
    return formats.pixel_format(pixel_format).shapes(width, height)


def frame_bytes(pixel_format: str, width: int, height: int) -> int:
    """How many bytes the pixels of one frame take."""
    size = formats.pixel_format(pixel_format).itemsize
    return size * sum(math.prod(shape) for shape in plane_shapes(pixel_format, width, height))


def fraction(value: Rational) -> Fraction:
    return Fraction(value[0], value[1])
