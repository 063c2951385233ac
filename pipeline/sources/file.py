"""Video files: anything FFmpeg's libraries in PyAV can read."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING

from esdnet import allowance
from pipeline.codec_devices import check_decoded
from pipeline.colour import FULL, chroma_location
from pipeline.errors import DerainError
from pipeline.frame import Frame, FrameHeader
from pipeline.pixels import carried_format, loss, pack
from pipeline.sources.deinterlace import deinterlaced
from pipeline.sources.description import describe
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
            self._stream.codec_context.thread_count = threads or allowance.codec_threads()
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
            self.info = describe(self._stream, first, self._container.duration, self._location, native)
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
