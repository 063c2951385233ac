"""From our frames to what an encoder was opened for: its pixel format and its size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.colour import FULL, LIMITED, is_full_range, swscale_matrix
from pipeline.errors import DerainError
from pipeline.frame import Frame, StreamInfo
from pipeline.pixels import convert, samples, unpack

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream


class Feeder:
    """Makes encodable frames for one stream.

    yuv420p and gray go through untouched where the encoder takes them. For an encoder fed with 4:4:4 each chroma
    sample is repeated, so that halving it again gives back the very same values.

    Args:
        info: The stream, as its source describes it.
        stream: The output stream, its encoder set up.
    """

    def __init__(self, info: StreamInfo, stream: VideoStream) -> None:
        self._info = info
        self._width, self._height = info.width, info.height
        self._format = stream.codec_context.pix_fmt or ""
        self._scaled = False

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
        if header.pixel_format == "rgb24" and self._format == "gray":
            raise DerainError(
                f"{header.name} has colours, the pictures before it are grey: write to a folder instead of a video"
            )
        if not same_size and not self._scaled:
            self._scaled = True
            warnings.append(
                f"from frame {header.index} on the source is {header.width}x{header.height}; "
                f"it is scaled to the {self._width}x{self._height} it began with"
            )
        if header.pixel_format == "yuv420p" and self._format == "yuv444p" and same_size:
            made = self._repeat_chroma(frame)
        else:
            made = unpack(frame.pixels, header.pixel_format, header.width, header.height)
            if header.pixel_format != self._format or not same_size:
                made = self._convert(made, header.pixel_format)
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
            range_in=FULL if held == "rgb24" else tagged,
            range_out=FULL if self._format == "bgr0" else tagged,
            size=(self._width, self._height),
        )

    def _repeat_chroma(self, frame: Frame) -> VideoFrame:
        from av import VideoFrame

        luma, *chroma = frame.planes()
        made = VideoFrame(self._width, self._height, "yuv444p")
        wide = [plane.repeat(2, 0)[: self._height].repeat(2, 1)[:, : self._width] for plane in chroma]
        for plane, values in zip(made.planes, (luma, *wide), strict=True):
            samples(plane, self._height, self._width)[...] = values
        return made
