"""Between FFmpeg's frames (padded rows, any pixel format) and ours (`pipeline.frame`: tightly packed 8-bit planes)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.colour import FULL, LIMITED, swscale_matrix
from pipeline.frame import frame_bytes, plane_shapes

if TYPE_CHECKING:
    import av
    from av.video.plane import VideoPlane

_EXACT = 0x04 | 0x2000 | 0x4000 | 0x40000
"""swscale's flags BICUBIC, FULL_CHR_H_INT, FULL_CHR_H_INP and ACCURATE_RND. Without them its RGB is up to 3 too low."""

_NATIVE = {"yuv420p": "yuv420p", "yuvj420p": "yuv420p", "gray": "gray", "gray8": "gray"}
"""Formats whose samples are ours already; yuvj420p is yuv420p in full range."""


def carried_format(source_format: str) -> str:
    """What frames of this FFmpeg pixel format travel as: "gray" if they have no colour, else "yuv420p"."""
    from av.video.format import VideoFormat

    if source_format in _NATIVE:
        return _NATIVE[source_format]
    form = VideoFormat(source_format)
    colours = [component for component in form.components if not component.is_alpha]
    return "gray" if len(colours) == 1 and not form.has_palette and not form.is_bayer else "yuv420p"


def is_rgb(source_format: str) -> bool:
    """Whether the format holds red, green and blue (a palette too), so that a matrix has to be chosen for YUV."""
    from av.video.format import VideoFormat

    form = VideoFormat(source_format)
    return form.is_rgb or form.has_palette or form.is_bayer


def loss(source_format: str) -> str:
    """What `carried_format` takes away, in words for people; empty if nothing."""
    from av.video.format import VideoFormat

    carried = carried_format(source_format)
    if source_format in _NATIVE or source_format in ("nv12", "nv21"):
        return ""
    form = VideoFormat(source_format)
    lost = []
    if any(component.bits > 8 for component in form.components):
        lost.append(f"{max(component.bits for component in form.components)} bit become 8")
    if any(component.is_alpha for component in form.components):
        lost.append("transparency is dropped")
    if carried == "yuv420p":
        if is_rgb(source_format):
            lost.append("RGB becomes YUV 4:2:0")
        elif (form.chroma_width(16), form.chroma_height(16)) != (8, 8):
            lost.append("chroma becomes 4:2:0")
    return ", ".join(lost)


def pack(frame: av.VideoFrame, full_range: bool) -> NDArray[np.uint8]:
    """Copy a decoded frame into one flat uint8 array, its planes tightly packed one after the other.

    yuv420p and gray are copied as they are. Anything else goes through swscale once, keeping range and matrix
    (RGB becomes limited-range BT.709).
    """
    source_format = frame.format.name
    carried = carried_format(source_format)
    if source_format not in _NATIVE:
        rgb = is_rgb(source_format)
        matrix = 1 if rgb else swscale_matrix(frame.colorspace, frame.height)
        range_in = FULL if rgb or full_range else LIMITED
        frame = convert(frame, carried, matrix, range_in, LIMITED if rgb else range_in)
    packed = np.empty(frame_bytes(carried, frame.width, frame.height), np.uint8)
    start = 0
    for plane, shape in zip(frame.planes, plane_shapes(carried, frame.width, frame.height), strict=True):
        height, width = shape[0], shape[1]
        packed[start : start + height * width].reshape(height, width)[...] = samples(plane, height, width)
        start += height * width
    return packed


def convert(
    frame: av.VideoFrame, to: str, matrix: int, range_in: int, range_out: int, size: tuple[int, int] | None = None
) -> av.VideoFrame:
    """Change a frame's pixel format, and its size if asked, without a shift of colours.

    Args:
        frame: Any FFmpeg frame.
        to: FFmpeg's name of the wanted pixel format.
        matrix: SWS_CS_* of the YUV side (see `pipeline.colour.swscale_matrix`); YUV to YUV keeps it.
        range_in: AVCOL_RANGE_* of the samples given; RGB is FULL.
        range_out: AVCOL_RANGE_* of the samples wanted.
        size: Width and height; None keeps them.
    """
    width, height = size or (frame.width, frame.height)
    return frame.reformat(
        width=width,
        height=height,
        format=to,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=range_in,
        dst_color_range=range_out,
        interpolation=_EXACT,
    )


def samples(plane: VideoPlane, height: int, width: int) -> NDArray[np.uint8]:
    """A writable view (no copy) on the samples of an 8-bit plane, without the padding at the end of its rows."""
    rows = np.frombuffer(memoryview(plane), np.uint8, height * plane.line_size)
    return rows.reshape(height, plane.line_size)[:, :width]


def unpack(pixels: NDArray[np.uint8], pixel_format: str, width: int, height: int) -> av.VideoFrame:
    """The same pixels as a frame FFmpeg can encode. Shares memory where the layout allows (even sizes), else copies.

    The array must not be written to until the frame is gone.
    """
    from av import VideoFrame

    if pixel_format == "rgb24":
        return VideoFrame.from_numpy_buffer(pixels.reshape(height, width, 3), "rgb24")
    if pixel_format == "gray":
        return VideoFrame.from_numpy_buffer(pixels.reshape(height, width), "gray")
    if width % 2 == 0 and height % 4 == 0:  # PyAV wants a (1.5 H, W) array and takes H from it in fours
        return VideoFrame.from_numpy_buffer(pixels.reshape(height * 3 // 2, width), "yuv420p")
    frame = VideoFrame(width, height, pixel_format)
    start = 0
    for plane, shape in zip(frame.planes, plane_shapes(pixel_format, width, height), strict=True):
        size = shape[0] * shape[1]
        samples(plane, shape[0], shape[1])[...] = pixels[start : start + size].reshape(shape[0], shape[1])
        start += size
    return frame
