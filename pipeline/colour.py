"""Colour tags: FFmpeg's numbers for range, matrix and chroma location, and what to assume where a file says nothing.

The numbers are those of ITU-T H.273 as FFmpeg's AVCOL_* use them, the same that containers and codecs store.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from pipeline.frame import StreamInfo

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

UNSPECIFIED = 2
"""AVCOL_PRI_, AVCOL_TRC_ and AVCOL_SPC_UNSPECIFIED alike."""

LIMITED, FULL = 1, 2
"""AVCOL_RANGE_MPEG (16..235) and AVCOL_RANGE_JPEG (0..255). 0 stands for "not said"."""

BT709 = 1
"""AVCOL_SPC_BT709 (the matrix), AVCOL_PRI_BT709 and AVCOL_TRC_BT709 alike."""

SRGB_TRC = 13
"""AVCOL_TRC_IEC61966_2_1, the curve of sRGB pictures."""

CHROMA_LOCATIONS = ("unspecified", "left", "center", "topleft", "top", "bottomleft", "bottom")
"""Name of each AVCHROMA_LOC_*, by number."""

RGB = 0
"""AVCOL_SPC_RGB: no matrix, the samples are red, green and blue."""

_SWSCALE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""AVCOL_SPC_* -> SWS_CS_*, swscale's own numbers for the same matrices."""


def is_full_range(info: StreamInfo) -> bool:
    """Whether the samples use 0..255. A stream that does not say is limited range, as video is by convention."""
    return info.color_range == FULL


def encoded_tags(info: StreamInfo, pixel_format: str, says_range: bool = True) -> StreamInfo:
    """The stream as it is once its frames are in this pixel format: RGB becomes limited-range BT.709 YUV, and YUV
    becomes full-range RGB. A codec that cannot say its range (`says_range`) holds limited range only."""
    from pipeline.pixels import is_rgb

    before, after = is_rgb(info.pixel_format), is_rgb(pixel_format)
    if before == after:
        limited = not after and not says_range and is_full_range(info)
        return msgspec.structs.replace(info, color_range=LIMITED) if limited else info
    if after:
        return msgspec.structs.replace(info, color_range=FULL, colorspace=RGB, chroma_location=0)
    return msgspec.structs.replace(info, color_range=LIMITED, colorspace=BT709, chroma_location=1)


def swscale_matrix(colorspace: int, height: int) -> int:
    """The SWS_CS_* number of the matrix that turns this YUV into RGB.

    A stream that does not say is taken as BT.709 from 720 lines up and as BT.601 below, as players do.
    """
    return _SWSCALE.get(colorspace, 1 if height >= 720 else 5)


def chroma_location(container: InputContainer, stream: VideoStream) -> int:
    """AVCHROMA_LOC_* of a stream. PyAV has no attribute for it, so it is read from the line in which FFmpeg describes
    the stream, which names it when FFmpeg logs verbosely. 0 where it says nothing."""
    import av.logging

    level = av.logging.get_level()
    av.logging.set_level(av.logging.VERBOSE)  # what is captured
    av.logging.set_libav_level(av.logging.VERBOSE)  # what FFmpeg puts into the description
    try:
        described: str = container.dumps_format()  # type: ignore[attr-defined]  # not in PyAV's stubs
    finally:
        av.logging.set_libav_level(av.logging.INFO)  # FFmpeg's own default
        av.logging.set_level(level)
    line = next((li for li in described.splitlines() if re.match(rf"\s*Stream #0:{stream.index}\D.*Video:", li)), "")
    details = re.search(rf"\b{re.escape(stream.pix_fmt or '?')}\(([^)]*)\)", line)
    words = details.group(1).split(", ") if details else []
    return next((CHROMA_LOCATIONS.index(word) for word in words if word in CHROMA_LOCATIONS), 0)
