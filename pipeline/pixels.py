"""Between FFmpeg's frames (padded rows, any pixel format) and ours (`pipeline.frame`: tightly packed planes)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline import formats
from pipeline.colour import FULL, LIMITED, swscale_matrix
from pipeline.formats import is_carried
from pipeline.frame import frame_bytes

if TYPE_CHECKING:  # the front asks what is carried as what, and starts in half the time without numpy
    import av
    import numpy as np
    from av.video.format import VideoFormat
    from av.video.plane import VideoPlane
    from numpy.typing import NDArray

_EXACT = 0x04 | 0x2000 | 0x4000 | 0x40000
"""swscale's flags BICUBIC, FULL_CHR_H_INT, FULL_CHR_H_INP and ACCURATE_RND. Without them its RGB is up to 3 too low."""

_NATIVE = {"yuv420p": "yuv420p", "yuvj420p": "yuv420p", "gray": "gray", "gray8": "gray"}
"""Formats whose samples are ours already; yuvj420p is yuv420p in full range."""


def carried_format(source_format: str, native: bool = False) -> str:
    """What frames of this FFmpeg pixel format travel as.

    Args:
        source_format: FFmpeg's name.
        native: Whether to keep depth, chroma, RGB and alpha, in the format of `pipeline.formats` that holds every
            sample. Else it is "gray" for what has no colour, and "yuv420p".
    """
    if source_format in _NATIVE:
        return _NATIVE[source_format]
    form = _described(source_format)
    colours = [component for component in form.components if not component.is_alpha]
    grey = len(colours) == 1 and not form.has_palette and not form.is_bayer
    if not native:
        return "gray" if grey else "yuv420p"
    plain = source_format.replace("yuvj", "yuv")
    return plain if is_carried(plain) and not formats.pixel_format(plain).packed else _holding(source_format, grey)


def _holding(source_format: str, grey: bool) -> str:
    """The planar format of ours that holds every sample of one that is not: big-endian, semi-planar, packed, float."""
    form = _described(source_format)
    alpha = any(component.is_alpha for component in form.components)
    deepest = max(component.bits for component in form.components)
    depth = min((known for known in (8, 9, 10, 12, 14, 16) if known >= deepest), default=16)
    if grey and not alpha:
        return _deep("gray", depth)
    if grey or is_rgb(source_format):
        depth = 10 if depth == 9 else depth
        return _deep("gbrap" if alpha else "gbrp", depth)
    chroma = (form.chroma_width(16), form.chroma_height(16))
    layout = {(8, 8): "420", (8, 16): "422", (16, 8): "440", (4, 16): "411", (4, 4): "410"}.get(chroma, "444")
    if alpha:
        return _deep(f"yuva{layout if layout in ('420', '422') else '444'}p", 16 if depth == 14 else depth)
    if layout in ("411", "410", "440") and depth > 8:
        return "yuv440p12le" if layout == "440" and depth <= 12 else "yuv444p16le"
    return _deep(f"yuv{layout}p", depth)


def _deep(name: str, depth: int) -> str:
    return name if depth == 8 else f"{name}{depth}le"


def _described(source_format: str) -> VideoFormat:
    from av.video.format import VideoFormat

    return VideoFormat(source_format)


def is_rgb(source_format: str) -> bool:
    """Whether the format holds red, green and blue (a palette too), so that a matrix has to be chosen for YUV."""
    form = _described(source_format)
    return form.is_rgb or form.has_palette or form.is_bayer


def loss(source_format: str, carried: str) -> str:
    """What is lost where samples of one format become another's, in words for people; empty if nothing."""
    source_format, carried = source_format.replace("yuvj", "yuv"), carried.replace("yuvj", "yuv")
    if source_format == carried:
        return ""
    form, into = _described(source_format), _described(carried)
    lost = []
    before, after = (max(c.bits for c in f.components if not c.is_alpha) for f in (form, into))
    if before > after:
        lost.append(f"{before} bit become {after}")
    if any(c.is_alpha for c in form.components) and not any(c.is_alpha for c in into.components):
        lost.append("transparency is dropped")
    colour = len([c for c in form.components if not c.is_alpha]) > 1 or form.has_palette or form.is_bayer
    if colour and len(into.components) < 3:
        lost.append("colours are dropped")
    elif colour:
        layout, wanted = _chroma(form), _chroma(into)
        named = {(8, 8): "4:2:0", (8, 16): "4:2:2", (16, 16): "4:4:4", (16, 8): "4:4:0"}.get(wanted, "smaller")
        if is_rgb(source_format) and not is_rgb(carried):
            lost.append(f"RGB becomes YUV {named}")
        elif not is_rgb(source_format) and (wanted[0] < layout[0] or wanted[1] < layout[1]):
            lost.append(f"chroma becomes {named}")
    return ", ".join(lost)


def _chroma(form: VideoFormat) -> tuple[int, int]:
    return form.chroma_width(16), form.chroma_height(16)


def pack(frame: av.VideoFrame, full_range: bool, native: bool = False) -> NDArray[np.uint8]:
    """Copy a decoded frame into one flat uint8 array, its planes tightly packed one after the other.

    A frame in a carried format is copied as it is. Anything else goes through swscale once, keeping range and matrix;
    where YUV has to be made of RGB it is limited-range BT.709.

    Args:
        frame: As the decoder gave it.
        full_range: Whether its YUV or grey uses the whole range of its samples.
        native: See `carried_format`.
    """
    import numpy as np

    source_format = frame.format.name
    carried = carried_format(source_format, native)
    form = formats.pixel_format(carried)
    if source_format.replace("yuvj", "yuv") != carried and source_format not in _NATIVE:
        rgb, into_rgb = is_rgb(source_format), form.kind == "rgb"
        matrix = 1 if rgb else swscale_matrix(frame.colorspace, frame.height)
        range_in = FULL if rgb or into_rgb or full_range else LIMITED
        frame = convert(frame, carried, matrix, range_in, range_in if into_rgb or not rgb else LIMITED)
    packed = np.empty(frame_bytes(carried, frame.width, frame.height), np.uint8)
    start = 0
    for plane, shape in zip(frame.planes, form.shapes(frame.width, frame.height), strict=True):
        rows, row = shape[0], shape[1] * form.dtype.itemsize
        packed[start : start + rows * row].reshape(rows, row)[...] = samples(plane, rows, row)
        start += rows * row
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
    """A writable view (no copy) on the bytes of a plane, `width` a row, without the padding at the end of its rows."""
    import numpy as np

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
    if pixel_format == "yuv420p" and width % 2 == 0 and height % 4 == 0:
        # PyAV wants a (1.5 H, W) array and takes H from it in fours
        return VideoFrame.from_numpy_buffer(pixels.reshape(height * 3 // 2, width), "yuv420p")
    frame = VideoFrame(width, height, pixel_format)
    form = formats.pixel_format(pixel_format)
    values = 4 if form.packed and form.alpha else 3 if form.packed else 1
    start = 0
    for plane, shape in zip(frame.planes, form.shapes(width, height), strict=True):
        rows, row = shape[0], shape[1] * values * form.dtype.itemsize
        samples(plane, rows, row)[...] = pixels[start : start + rows * row].reshape(rows, row)
        start += rows * row
    return frame
