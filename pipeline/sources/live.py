"""One connection to a source that has no end, or comes over a network: opened, read until it is lost, closed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pipeline.colour import FULL
from pipeline.errors import DerainError
from pipeline.frame import StreamInfo
from pipeline.pixels import carried_format, loss
from pipeline.redact import redact, scrub
from pipeline.sources.datagrams import noise_comes
from pipeline.sources.description import display_matrix, field_order
from pipeline.sources.live_address import LiveAddress
from pipeline.sources.streams import ignore, is_cover
from pipeline.sources.upright_frames import UprightFrames

if TYPE_CHECKING:
    from av import AudioFrame, VideoFrame
    from av.format import ContainerFormat
    from av.video.stream import VideoStream

_PACED = ("hls", "dash")
"""Demuxers that hand out a stretch at once: their frames wait until they are due, or the newest would win too much."""
_NO_TIMESTAMPS = 128
"""AVFMT_NOTIMESTAMPS, of the demuxers of bare streams (`mpjpeg`, `h264` …). Those of rows of pictures do not set it."""

MISSING = 5.0
"""Seconds by which a film over the network may be shorter than was told."""


class SourceLost(DerainError):
    """The source can't be opened, or read any further. `reason` is one word for counters and resets."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class SourceEnded(SourceLost):
    """A source that has an end (a file, standard input) is at its end."""


class LiveSource:
    """One connection: opened, read until it is lost, closed.

    Iterating gives decoded frames of FFmpeg as they come: sound, and video upright. A frame that does not decode, or
    not whole, is counted in `damaged` and left out, so that the network never sees grey smear.

    Args:
        source: As the user names it; errors show it redacted.
        address: How to open it.
        open_timeout: Seconds that opening may take.
        stall_timeout: Seconds without a picture after which the connection is lost. The first may take `open_timeout`
            longer: the next keyframe may be that far.
        sound: Whether to decode sound.

    Raises:
        SourceLost: It can't be opened.
    """

    def __init__(
        self, source: str, address: LiveAddress, *, open_timeout: float, stall_timeout: float, sound: bool
    ) -> None:
        import av

        self._source, self._address = source, address
        self._patience, self._first_patience = max(stall_timeout, address.silence), open_timeout
        self.damaged = 0
        self.warnings: list[str] = []
        with self._losing(opening=True):
            self._container = av.open(
                address.url,
                format=address.format,
                container_options=address.options,
                metadata_errors="replace",
                timeout=(open_timeout, max(stall_timeout, address.silence)) if address.timed else None,
            )
        try:
            self._video = self._main_video()
            self._sound = next((s for s in self._container.streams.audio if s.codec_context), None) if sound else None
            for stream in self._container.streams:
                if stream.index not in {s.index for s in (self._video, self._sound) if s}:
                    ignore(stream)
            self._video.thread_type = "SLICE"  # threads by frame would hold as many frames back as there are threads
        except BaseException:
            self.close()
            raise
        length = self._container.duration or 0  # microseconds; what is live knows none
        self.paced = address.paced or self._container.format.name in _PACED or bool(length)
        self._ends = address.ends or bool(length)
        self._told = 0.0 if address.ends else length / 1_000_000  # seconds
        self._timeless = not self.paced and _has_no_time(self._container.format)
        self._upright: UprightFrames | None = None
        self._first: float | None = None
        self._last = 0.0
        self.has_sound = self._sound is not None

    @property
    def codec(self) -> str:
        return self._video.codec_context.name

    def __iter__(self) -> Iterator[VideoFrame | AudioFrame]:
        streams = [self._video] + ([self._sound] if self._sound else [])
        packets = self._container.demux(*streams)
        until, came = time.monotonic() + self._patience + self._first_patience, False
        while True:
            with self._losing(opening=False):
                packet = next(packets, None)
            if packet is None or (not packet.size and not self._ends):
                break
            if packet.stream is self._video and packet.pts is not None:
                self._last = float(packet.pts * (self._video.time_base or 0))
                self._first = self._last if self._first is None else self._first
            for frame in self._decoded(packet):
                yield frame
                if packet.stream is self._video:
                    until, came = time.monotonic() + self._patience, False
            came = came or packet.stream is self._video
            if time.monotonic() > until:
                raise self._no_picture(came)
        if self._ends and not self._cut_off:
            raise SourceEnded("end", f"{redact(self._source)}: is at its end")
        raise SourceLost("closed", f"{redact(self._source)}: the other side closed the connection")

    def _no_picture(self, came: bool) -> SourceLost:
        """What comes is of no use; `came`: though it should be the picture."""
        shown = redact(self._source)
        if came:
            return SourceLost("garbage", f"{shown}: no picture can be decoded any more; perhaps the codec has changed")
        return SourceLost("stalled", f"{shown}: sound comes, but no picture")

    @property
    def _cut_off(self) -> bool:
        """Whether a film over the network (a camera's recording, a playlist) stops long before its end: a server that
        dies looks to FFmpeg like the end."""
        seen = 0.0 if self._first is None else self._last - self._first
        return seen < self._told - MISSING

    def info(self, frame: VideoFrame) -> StreamInfo:
        """The stream, as its first frame shows it. Frames of it are yuv420p or gray, on the output clock."""
        from pipeline.live.messages import TICKS

        stream, context = self._video, self._video.codec_context
        rate = stream.average_rate or stream.guessed_rate
        carried = carried_format(frame.format.name)
        full = frame.format.name.startswith("yuvj") or FULL in (frame.color_range, context.color_range)
        if lost := loss(frame.format.name, carried):
            self.warnings.append(f"{redact(self._source)}: {frame.format.name} is read as {carried}: {lost}")
        aspect = stream.sample_aspect_ratio
        if aspect and self._upright and self._upright.on_side:
            aspect = 1 / aspect
        return StreamInfo(
            width=frame.width,
            height=frame.height,
            pixel_format=carried,
            time_base=(1, TICKS),
            average_rate=(rate.numerator, rate.denominator) if rate and 1 <= rate <= 240 else None,
            sample_aspect_ratio=(aspect.numerator, aspect.denominator) if aspect else None,
            color_range=FULL if full else frame.color_range or context.color_range,
            color_primaries=frame.color_primaries if frame.color_primaries != 2 else context.color_primaries,
            color_trc=frame.color_trc if frame.color_trc != 2 else context.color_trc,
            colorspace=frame.colorspace if frame.colorspace != 2 else context.colorspace,
            source_pixel_format=frame.format.name,
            source_codec=self.codec,
            field_order=field_order(stream, frame),
            sound=self.has_sound,
        )

    def seconds(self, frame: VideoFrame | AudioFrame) -> float | None:
        """A frame's timestamp in the source. None where it has none, be it that FFmpeg makes 25 frames a second of what
        has no time in it, whatever the camera does; only a file is played so."""
        pts = frame.pts if frame.pts is not None else frame.dts
        return None if self._timeless or pts is None or not frame.time_base else float(pts * frame.time_base)

    def close(self) -> None:
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _main_video(self) -> VideoStream:
        streams = [s for s in self._container.streams.video if not is_cover(s) and s.codec_context is not None]
        if not streams:
            held = ", ".join(sorted({stream.type for stream in self._container.streams})) or "nothing"
            raise SourceLost("no_video", f"{redact(self._source)}: no video is in it that can be decoded, only {held}")
        return max(streams, key=lambda stream: stream.codec_context.width * stream.codec_context.height)

    def _decoded(self, packet: Any) -> Iterator[VideoFrame | AudioFrame]:
        import av.error

        try:
            frames = packet.decode()
        except av.error.EOFError:
            return
        except (av.error.FFmpegError, ValueError):
            self.damaged += packet.stream.type == "video"
            return
        for frame in frames:
            if packet.stream.type == "video" and frame.is_corrupt:
                self.damaged += 1
                continue
            yield self._turned(frame) if packet.stream.type == "video" else frame

    def _turned(self, frame: VideoFrame) -> VideoFrame:
        if self._upright is None:
            self._upright = UprightFrames(display_matrix(frame))
            self.warnings += [f"{redact(self._source)}: {text}" for text in self._upright.lost(frame)]
        return self._upright.turned(frame)

    def _losing(self, opening: bool) -> _Losing:
        return _Losing(self._source, self._address, None if opening else self.close)


class _Losing:
    """Turns what FFmpeg raises while a source is opened or read into `SourceLost`.

    Args:
        source: As the user names it.
        address: How it is opened.
        close: Closes what is read; None while it is opened.
    """

    def __init__(self, source: str, address: LiveAddress, close: Callable[[], None] | None) -> None:
        self._source, self._address, self._close = source, address, close
        self._began = time.monotonic()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import av.error

        if not isinstance(error, (av.error.FFmpegError, OSError, ValueError)):
            return
        reason, text = _reason(error, self._close is None)
        said = scrub(str(getattr(error, "strerror", None) or error), [self._source], foreign=True)
        if reason == "garbage" and self._close is None and self._was_silent():
            reason, text, said = *_TIMEOUT, ""
        elif reason in ("timeout", "stalled") and self._is_noise():
            reason, text, said = *_GARBAGE, ""
        elif isinstance(error, av.error.ExitError):
            said = ""  # PyAV's time-out, which says "Immediate exit requested"
        shown = redact(self._source)
        also = f" ({said})" if said and said.lower() not in text else ""
        raise SourceLost(reason, f"{shown}: {text}{also}") from error

    def _was_silent(self) -> bool:
        """FFmpeg's RTSP says the same of an answer that does not come in time as of one that it can't read."""
        if not self._address.url.lower().startswith(("rtsp://", "rtsps://")):
            return False
        return time.monotonic() - self._began > 0.9 * int(self._address.options["timeout"]) / 1_000_000

    def _is_noise(self) -> bool:
        """FFmpeg looks for MPEG-TS in whatever comes over UDP until its time is up."""
        if not self._address.url.lower().startswith("udp://"):
            return False
        if self._close is not None:
            self._close()
        return noise_comes(self._address.url)


_TIMEOUT = ("timeout", "no answer in time; is it on?")
_GARBAGE = ("garbage", "what comes is no video that FFmpeg can read")


def _reason(error: Exception, opening: bool) -> tuple[str, str]:
    """One word, and a sentence that says what to look at."""
    import av.error

    if isinstance(error, av.error.ExitError | TimeoutError):  # PyAV's time-out, or the socket's
        return _TIMEOUT if opening else ("stalled", "nothing came for too long")
    if isinstance(error, ConnectionRefusedError):
        return "refused", "nobody listens there; is the server running, and the port right?"
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return "denied", "user or password are refused"
    if isinstance(error, av.error.HTTPNotFoundError | FileNotFoundError):
        return "not_found", "there is no such stream"
    if isinstance(error, av.error.ProtocolNotFoundError):
        return "unreachable", "this build of FFmpeg does not know that protocol"
    if isinstance(error, av.error.InvalidDataError):
        return _GARBAGE
    if isinstance(error, ConnectionError | BrokenPipeError):
        return "closed", "the connection broke"
    return ("unreachable", "can't be opened") if opening else ("closed", "can't be read on")


def _has_no_time(format: ContainerFormat) -> bool:
    picture_row = format.name == "image2pipe" or format.name.endswith("_pipe")
    return picture_row or bool(format.flags & _NO_TIMESTAMPS)
