"""From our frames to what an encoder was opened for: its pixel format and its size."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, cast

import numpy as np

from pipeline.colour import FULL, LIMITED, is_full_range, swscale_matrix
from pipeline.errors import DerainError
from pipeline.formats import is_carried, pixel_format
from pipeline.frame import Frame, StreamInfo
from pipeline.pixels import convert, is_rgb, unpack
from pipeline.sinks.encoder import TOP_FIRST
from pipeline.sources.deinterlace import one_filter

if TYPE_CHECKING:
    from av import VideoFrame
    from av.filter import Graph
    from av.video.stream import VideoStream


class Feeder:
    """Makes encodable frames for one stream.

    Frames go through untouched where the encoder takes their format. For an encoder fed with larger chroma of the same
    depth each chroma sample is repeated, so that making it smaller again gives back the very same values.

    Args:
        info: The stream, as it is once it is encoded.
        stream: The output stream, its encoder set up.
        full_range: Whether the frames' YUV or grey comes in full range; how it is encoded `info` says.
        by_fields: Whether to flag frames as interlaced, with the field first that `info.field_order` says.
    """

    def __init__(self, info: StreamInfo, stream: VideoStream, full_range: bool, by_fields: bool = False) -> None:
        self._info = info
        self._width, self._height = info.width, info.height
        self._format = stream.codec_context.pix_fmt or ""
        self._scaled = False
        self._flagging: Graph | None = None
        self._by_fields = by_fields
        self._range = FULL if full_range else LIMITED

    def feed(self, frame: Frame, warnings: list[str]) -> VideoFrame:
        """One frame for the encoder, tagged with the stream's colours, without a timestamp.

        Raises:
            DerainError: A picture of another size than the first; a video has one size.
        """
        header = frame.header
        same_size = (header.width, header.height) == (self._width, self._height)
        if not same_size and header.name:
            raise DerainError(
                f"{header.name} is {header.width}x{header.height}, the pictures before it {self._width}x{self._height}:"
                " a video needs one size; write to a folder instead"
            )
        if header.pixel_format.startswith("rgb") and self._format.startswith("gray"):
            raise DerainError(
                f"{header.name} has colours, the pictures before it are grey: write to a folder instead of a video"
            )
        if not same_size and not self._scaled:
            self._scaled = True
            warnings.append(
                f"from frame {header.index} on the source is {header.width}x{header.height}; "
                f"it is scaled to {self._width}x{self._height}, the size of the video"
            )
        if self._repeats(header.pixel_format) and same_size:  # whose encoders say their range
            made = self._repeat_chroma(frame)
        else:
            made = unpack(frame.pixels, header.pixel_format, header.width, header.height)
            ranges = is_rgb(self._format) or self._range == (FULL if is_full_range(self._info) else LIMITED)
            if header.pixel_format != self._format or not same_size or not ranges:
                made = self._convert(made, header.pixel_format)
        if self._by_fields:
            made = self._flagged(made)
        made.color_range = self._info.color_range
        made.color_primaries = self._info.color_primaries
        made.color_trc = self._info.color_trc
        made.colorspace = self._info.colorspace
        return made

    def _convert(self, frame: VideoFrame, held: str) -> VideoFrame:
        matrix = swscale_matrix(self._info.colorspace, self._height)
        tagged = FULL if is_full_range(self._info) else LIMITED
        return convert(
            frame,
            self._format,
            matrix,
            range_in=FULL if is_rgb(held) else self._range,
            range_out=FULL if is_rgb(self._format) else tagged,
            size=(self._width, self._height),
        )

    def _repeats(self, held: str) -> bool:
        if not is_carried(self._format):
            return False
        form, fed = pixel_format(held), pixel_format(self._format)
        smaller = form.shift != fed.shift and all(s >= f for s, f in zip(form.shift, fed.shift, strict=True))
        return form.kind == fed.kind == "yuv" and smaller and form.bits == fed.bits and not form.alpha and not fed.alpha

    def _repeat_chroma(self, frame: Frame) -> VideoFrame:
        form, fed = pixel_format(frame.header.pixel_format), pixel_format(self._format)
        luma, *chroma = frame.planes()
        rows, columns = fed.shapes(self._width, self._height)[1]
        across, down = (1 << (s - f) for s, f in zip(form.shift, fed.shift, strict=True))
        wide = [plane.repeat(down, 0)[:rows].repeat(across, 1)[:, :columns] for plane in chroma]
        pixels = np.concatenate([plane.reshape(-1) for plane in (luma, *wide)]).view(np.uint8)
        return unpack(pixels, self._format, self._width, self._height)

    def _flagged(self, frame: VideoFrame) -> VideoFrame:
        """The same samples, flagged as two fields. PyAV cannot set the flags itself, a filter of FFmpeg can."""
        if self._flagging is None:
            mode = "tff" if self._info.field_order in TOP_FIRST else "bff"
            self._flagging = one_filter(frame, Fraction(1, 1000), "setfield", f"mode={mode}")
        self._flagging.push(frame)
        return cast("VideoFrame", self._flagging.pull())
