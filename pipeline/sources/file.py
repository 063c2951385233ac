"""Video files: anything FFmpeg's libraries in PyAV can read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pipeline.codec_devices import check_decoded
from pipeline.colour import BT709, FULL, LIMITED, chroma_location
from pipeline.errors import DerainError
from pipeline.frame import Frame, FrameHeader, Rational, StreamInfo
from pipeline.hdr import content_light, mastering_display
from pipeline.pixels import carried_format, is_rgb, loss, pack
from pipeline.sources.deinterlace import deinterlaced, is_top_first
from pipeline.sources.losses import Losses, in_words
from pipeline.sources.source import Source
from pipeline.sources.streams import ignore, main_video, open_container, reading

if TYPE_CHECKING:
    import av
    from av.packet import Packet
    from av.video.stream import VideoStream


class FileSource(Source):
    """The video stream of a file, decoded.

    The first frame is decoded on opening, because only it tells rotation and colour for certain (and because a file
    none of whose frames decode should fail at once).

    A frame without a pts (raw streams, some AVI) takes its decoding timestamp if that lies after the frame before,
    else it follows the frame before by that one's duration.

    `info.frames` is exact where the container counts its frames (MP4, AVI, Matroska made by mkvmerge), else estimated
    from duration and average rate, and far off for a file whose rate varies.

    Args:
        path: The file.
        threads: Decoder threads; 0 lets FFmpeg take one per core.
        partial: Decode a file whose end is missing as far as it goes, instead of refusing it.
        native: Keep depth, chroma, RGB and alpha (see `pipeline.formats`); else frames are 8-bit yuv420p or gray.
        deinterlace: Make progressive frames of interlaced ones, as many as there were.
        strict: End with an error at the first frame that does not decode, or not whole.
        device: Where to decode (`pipeline.codec_devices`).

    Raises:
        DerainError: Missing, empty, cut short, no video, or no frame of it decodes.
    """

    def __init__(
        self, path: str, *, threads: int = 0, partial: bool = False, native: bool = False, deinterlace: bool = False,
        strict: bool = False, device: str = "cpu",
    ) -> None:  # fmt: skip
        super().__init__()
        self.path, self._threads, self._partial = path, threads, partial
        self._native, self._strict, self._deinterlace = native, strict, deinterlace
        self._device = device
        self._container = open_container(path, partial, device)
        try:
            self._stream = main_video(self._container, path)
            check_decoded(self._stream, device, path)
            self._location = chroma_location(self._container, self._stream)
            for stream in self._container.streams:
                if stream.index != self._stream.index:
                    ignore(stream)
            self._stream.thread_type = "AUTO"
            self._stream.codec_context.thread_count = threads
            base = self._stream.time_base
            assert base is not None
            rate = self._stream.average_rate or self._stream.guessed_rate
            self._losses = Losses(base, round(1 / (rate * base)) if rate else 1)
            self._decoded = self._decode()
            if deinterlace:
                self._decoded = deinterlaced(self._decoded, base)
            first = next(self._decoded, None)
            if first is None:
                raise DerainError(f"{path}: not one frame of its video could be decoded; it is damaged or not complete")
            self._first: av.VideoFrame | None = first
            self.info = _describe(self._stream, first, self._container.duration, self._location, native)
        except BaseException:
            self._container.close()
            raise
        lost = loss(first.format.name, self.info.pixel_format)
        if lost:
            self.warnings.append(f"{path}: {first.format.name} is read as {self.info.pixel_format}: {lost}")

    def __iter__(self) -> Iterator[Frame]:
        full_range = self.info.color_range == FULL
        step = self._usual_step()
        previous: int | None = None
        duration = step
        frame, self._first = self._first, None
        index = 0
        while frame is not None:
            following = next(self._decoded, None)
            pts = frame.pts
            if pts is None:
                pts = _missing_pts(frame.dts, previous, duration, self._stream.start_time or 0)
            if previous is not None and pts <= previous:
                self.repeated_pts += 1
            shown = frame.duration if following is not None else self._last_duration(pts, frame.duration)
            duration = shown or step
            header = FrameHeader(
                index=index,
                pts=pts,
                width=frame.width,
                height=frame.height,
                pixel_format=carried_format(frame.format.name, self._native),
                duration=shown,
                interlaced=frame.interlaced_frame,
            )
            yield Frame(header, pack(frame, full_range, self._native))
            previous, index = pts, index + 1
            frame = following

    def seek(self, pts: int, margin: float = 0.0) -> bool:
        """Go on from a keyframe at or before `pts` instead of from the start. Before iterating; rising pts only.

        Args:
            pts: Ticks of `info.time_base`.
            margin: Seconds to go further back, for containers that find their keyframes by guessing.

        Returns:
            Whether there is one; else the source is lost and has to be opened again.
        """
        import av.error

        base = Fraction(*self.info.time_base)
        try:
            self._container.seek(pts - round(margin / base), stream=self._stream, backward=True)
        except av.error.FFmpegError:
            return False
        self._losses = Losses(base, self._usual_step())
        self._losses.since = pts
        decoded = self._decode()
        first = next((frame for frame in decoded if frame.key_frame), None)
        if first is None or first.pts is None or first.pts > pts:
            return False
        frames = chain([first], decoded)
        self._decoded = deinterlaced(frames, base) if self._deinterlace else frames
        self._first = next(self._decoded, None)
        return self._first is not None

    def reopen(self) -> None:
        """Be as if just opened."""
        self.close()
        FileSource.__init__(
            self, self.path, threads=self._threads, partial=self._partial, native=self._native, strict=self._strict,
            deinterlace=self._deinterlace, device=self._device,
        )  # fmt: skip

    def close(self) -> None:
        self._first = None
        self._container.close()

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Frames in presentation order. What does not decode is noted; only the file system's errors end it."""
        import av.error

        packets = self._container.demux(self._stream)
        unread = False
        while True:
            with reading(self.path):
                try:
                    packet = next(packets, None)
                except av.error.InvalidDataError:
                    unread, packet = True, None
                    self.warnings.append(f"{self.path}: cannot be read any further than here; the rest is missing")
            if packet is None:
                break
            self.beat()
            if packet.size and not packet.is_discard:
                self._losses.sent(packet.pts, packet.duration, not packet.is_corrupt)
            for frame in self._decode_packet(packet):
                self._losses.given(frame.pts, frame.is_corrupt)
                self._judge(unread)
                yield frame
        self._losses.end()
        self._judge(unread)
        if self._losses.count:
            step = float(self._usual_step() * Fraction(*self.info.time_base)) if hasattr(self, "info") else 0.0
            self.warnings.append(f"{self.path}: {in_words(self._losses.listed, self._losses.count, step)}")

    def _judge(self, unread: bool) -> None:
        """Take over the losses found so far. DerainError at the first of them where none is allowed."""
        self.damaged = self._losses.count + unread
        self.lost, self.gaps = self._losses.listed, self._losses.gaps
        if self._strict and self.damaged:
            what = in_words(self.lost, len(self.lost), 0.0) or "it cannot be read to its end"
            raise DerainError(f"{self.path}: {what}; without --strict the rest would be derained")

    def _decode_packet(self, packet: Packet[VideoStream]) -> list[av.VideoFrame]:
        import av.error

        try:
            return self._stream.decode(packet)
        except av.error.EOFError:
            return []
        except av.error.FFmpegError:
            self._losses.refused(packet.pts, packet.dts)
            return []

    def _last_duration(self, pts: int, duration: int) -> int:
        """How long the last frame is shown. MP4 stores when the next frame is to be decoded, and for the last frame a
        number that means little; but it knows when the whole stream ends."""
        stream = self._stream
        if "mp4" not in self._container.format.name or stream.start_time is None or stream.duration is None:
            return duration
        left = stream.start_time + stream.duration - pts
        return min(duration, left) if left > 0 else duration

    def _usual_step(self) -> int:
        """Ticks between frames at the average rate; 1 where that is not known."""
        if self.info.average_rate is None:
            return 1
        rate, base = Fraction(*self.info.average_rate), Fraction(*self.info.time_base)
        return max(1, round(1 / (rate * base)))


def _missing_pts(dts: int | None, previous: int | None, duration: int, start: int) -> int:
    if previous is None:
        return dts if dts is not None else start
    if dts is not None and dts > previous:
        return dts
    return previous + duration


def _rational(value: Fraction | None) -> Rational | None:
    """None for unknown, which FFmpeg writes as 0/1 or 0/0 and PyAV as None or 0."""
    return (value.numerator, value.denominator) if value else None


def _display_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """The frame's display matrix; None if it has none, or other data beside it that PyAV does not know the type of."""
    try:
        held = cast("Mapping[str, Any]", frame.side_data)  # PyAV's stub knows motion vectors only
        data = held["DISPLAYMATRIX"]
    except (KeyError, ValueError):
        return None
    return tuple(int(number) for number in np.frombuffer(memoryview(data), np.int32)[:9])


def _field_order(stream: VideoStream, frame: av.VideoFrame) -> int:
    """AV_FIELD_*; 0 where frames are progressive. The frame itself has the last word on which field is first."""
    if not frame.interlaced_frame:
        return 0
    told, fitting = stream.codec_context.field_order, (2, 4) if is_top_first(frame) else (3, 5)
    return told if told in fitting else fitting[0]


def _counted(stream: VideoStream) -> int:
    """How many frames the tags say that mkvmerge writes into Matroska; 0 if they do not."""
    tags = {key.upper().removesuffix("-ENG"): value for key, value in stream.metadata.items()}
    count = tags.get("NUMBER_OF_FRAMES", "")
    return int(count) if count.isdecimal() else 0


def _describe(
    stream: VideoStream, frame: av.VideoFrame, container_duration: int | None, location: int, native: bool
) -> StreamInfo:
    """What the container, the decoder and the first frame say about the stream; the frame has the last word."""
    source_format = frame.format.name
    context = stream.codec_context
    assert stream.time_base is not None
    rate = stream.average_rate or stream.guessed_rate
    duration: float | None = None
    if stream.duration is not None:
        duration = float(stream.duration * stream.time_base)
    elif container_duration is not None:
        duration = container_duration / 1_000_000
    frames = stream.frames or _counted(stream) or (round(duration * rate) if duration and rate else None)
    full = source_format.startswith("yuvj") or FULL in (frame.color_range, context.color_range)
    tags: dict[str, Any] = {
        "color_range": FULL if full else frame.color_range or context.color_range,
        "color_primaries": frame.color_primaries if frame.color_primaries != 2 else context.color_primaries,
        "color_trc": frame.color_trc if frame.color_trc != 2 else context.color_trc,
        "colorspace": frame.colorspace if frame.colorspace != 2 else context.colorspace,
        "chroma_location": location,
    }
    carried = carried_format(source_format, native)
    if is_rgb(carried):
        tags |= {"color_range": FULL, "chroma_location": 0}
    elif is_rgb(source_format):  # what `pipeline.pixels.pack` makes of it
        tags |= {"color_range": LIMITED, "colorspace": BT709, "chroma_location": 1}
    return StreamInfo(
        width=frame.width,
        height=frame.height,
        pixel_format=carried,
        time_base=(stream.time_base.numerator, stream.time_base.denominator),
        average_rate=_rational(rate),
        frames=frames,
        duration=duration,
        sample_aspect_ratio=_rational(stream.sample_aspect_ratio or context.sample_aspect_ratio),
        rotation=frame.rotation,
        display_matrix=_display_matrix(frame),
        source_pixel_format=source_format,
        source_codec=context.codec.canonical_name,
        field_order=_field_order(stream, frame),
        mastering_display=mastering_display(frame),
        content_light=content_light(frame),
        **tags,
    )
