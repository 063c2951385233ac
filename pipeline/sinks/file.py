"""Video files: the frames encoded, everything else of the source copied beside them."""

from __future__ import annotations

import os
from contextlib import suppress
from fractions import Fraction
from typing import TYPE_CHECKING

from pipeline.colour import encoded_tags, is_full_range
from pipeline.errors import DerainError
from pipeline.frame import Frame, StreamInfo
from pipeline.picture_names import is_picture
from pipeline.sinks import containers, matroska_shape
from pipeline.sinks.clock import FrameClock
from pipeline.sinks.companions import Companions
from pipeline.sinks.encoder import add_video, keeps_fields, left_out
from pipeline.sinks.feeding import Feeder
from pipeline.sinks.geometry import not_kept, shape_is_put
from pipeline.sinks.options import EncodeOptions, encoder_settings
from pipeline.sinks.sink import Sink
from pipeline.sinks.temporary import check_destination, put_in_place, remove, temporary_beside, writing

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

_ASSUMED_RATE = Fraction(25)
"""Frames a second told to an encoder's rate control where the source does not know its own."""


class FileSink(Sink):
    """Encodes frames into a file.

    Timestamps come out as they went in: the stream gets the source's time base, and where the container has another
    clock (1 ms in Matroska, 1/90000 s in MPEG-TS) they are rounded to it and `warnings` says so. The encoder itself
    counts frames at the average rate (see `pipeline.sinks.clock`).

    Args:
        destination: The file; its ending chooses the container.
        info: The stream, as its source describes it.
        options: How to encode.
        source: The file whose audio, subtitles, chapters, metadata … are copied; "" or a folder for none.

    Raises:
        UsageError: Codec, quality and container do not fit each other.
        DerainError: The destination exists or cannot be written.
    """

    def __init__(self, destination: str, info: StreamInfo, options: EncodeOptions, source: str) -> None:
        super().__init__(destination)
        self._muxer = containers.format_of(destination)
        self._settings = encoder_settings(options, info.pixel_format, info.width, info.height)
        containers.check_codec(destination, self._settings.codec)
        check_destination(destination, options.overwrite)
        self._options = options
        self._source_info = info
        self._earliest = Fraction(0)  # the lowest dts if below 0, in seconds
        self._info = encoded_tags(info, self._settings.pixel_format, self._settings.says_range)
        self._companions = (
            Companions(source, self._muxer, self.warnings)
            if os.path.isfile(source) and not is_picture(source)
            else None
        )
        self._temporary = temporary_beside(destination)
        self._output: OutputContainer | None = None
        try:
            self._open()
        except BaseException:
            self.abort()
            raise

    def _open(self) -> None:
        import av

        info = self._info
        with writing(self.destination):
            os.close(os.open(self._temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            self._output = av.open(
                f"file:{self._temporary}", "w", format=self._muxer, container_options=self._muxer_options()
            )
            if self._companions:
                self._companions.add_before_video(self._output)
            self._stream = add_video(
                self._output, info, self._settings, self._rate, self._time_base, self._options.threads
            )
            if self._keeps_place:
                matroska_shape.keep_place(self._stream)
            self._clock = FrameClock(Fraction(*info.time_base), self._time_base, self._rate)
            self._feeder = Feeder(
                info, self._stream, is_full_range(self._source_info), keeps_fields(info, self._settings)
            )
            if self._companions:
                self._companions.add_after_video(self._output, self._stream)
            self._output.start_encoding()
            self._clock.container_base = _fraction(self._stream)
        self.warnings += not_kept(info, self._muxer, self._settings.codec)
        self.warnings += left_out(self._source_info, self._settings)

    @property
    def _keeps_place(self) -> bool:
        return shape_is_put(self._info, self._muxer, self._settings.codec)

    def _put_shape(self) -> None:
        shape = self._info.sample_aspect_ratio or (1, 1)
        if not matroska_shape.put_shape(self._temporary, self._info.width, self._info.height, shape):
            raise DerainError(f"{self.destination}: the shape of its pixels cannot be put into it; use .mp4")

    def _muxer_options(self) -> dict[str, str]:
        options = self._companions.muxer_options() if self._companions else {}
        if self._muxer in containers.ISO:
            options["video_track_timescale"] = str(self._time_base.denominator)
            options.setdefault("movie_timescale", str(self._time_base.denominator))
        elif self._muxer == "mpegts":
            options["mpegts_copyts"] = "1"
        elif self._muxer in ("matroska", "webm") and self._holds_start():
            # Only pts are stored, and those of AAC's priming fit below 0 too. By default FFmpeg would shift everything.
            options["avoid_negative_ts"] = "disabled"
        return options

    def _holds_start(self) -> bool:
        """Whether the container can store where the streams start. Matroska counts 16 bits of milliseconds below 0."""
        start = self._companions.start() if self._companions else 0
        return self._muxer in containers.HOLDS_NEGATIVE_TIME and (self._muxer in containers.ISO or start > -30)

    @property
    def _time_base(self) -> Fraction:
        """The clock packets are muxed by. AVI has no timestamps: its clock ticks once a frame."""
        if self._muxer == "avi":
            return 1 / self._rate
        return Fraction(*self._info.time_base)

    @property
    def _rate(self) -> Fraction:
        return Fraction(*self._info.average_rate) if self._info.average_rate else _ASSUMED_RATE

    def _write(self, frame: Frame) -> None:
        if self._output is None:
            raise DerainError(f"{self.destination}: is closed already")
        encodable = self._feeder.feed(frame, self.warnings)
        encodable.time_base, encodable.duration = 1 / self._rate, 1
        encodable.pts = self._clock.enter(frame.header.pts, frame.header.duration)
        self._mux(self._stream.encode(encodable))
        self.frames += 1

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            self._clock.stamp(packet)
            self._put(packet)

    def _flush(self) -> None:
        """Mux what the encoder still holds."""
        self._mux(self._stream.encode(None))

    def _put(self, packet: Packet[VideoStream]) -> None:
        """Mux one packet that has its timestamps, after the other streams' packets up to it."""
        assert self._output is not None
        assert packet.dts is not None
        moment = packet.dts * self._time_base
        self._earliest = min(self._earliest, moment)
        if self._companions:
            self._companions.copy_until(moment)
        self._output.mux_one(packet)

    def close(self) -> None:
        if self._output is None:
            return
        try:
            if not self.frames:
                raise DerainError(f"{self.destination}: no frame arrived, so there is nothing to write")
            with writing(self.destination):
                self._flush()
                if self._companions:
                    self._companions.copy_until(None)
                self._output.close()
                if self._keeps_place:
                    self._put_shape()
                self._place()
        except BaseException:
            self.abort()
            raise
        self._output = None
        self._tell()

    def _place(self) -> None:
        """Give the finished file its name."""
        put_in_place(self._temporary, self.destination, self._options.overwrite)

    def _tell(self) -> None:
        earliest = self._earliest
        if self._companions:
            earliest = min(earliest, self._companions.earliest)
        if earliest < 0 and not self._holds_start():
            self.warnings.append(
                f"{self._muxer} cannot hold times below 0: all is {float(-earliest):.3f} s later than in the source"
            )
        if self._companions:
            self._companions.close()
        if self._clock.moved:
            self.warnings.append(f"{self._clock.moved} frames had a pts that did not rise; they were moved")
        if self._clock.inexact:
            self.warnings.append(
                f"{self._muxer} has a coarser clock than the source: {self._clock.inexact} pts are rounded to it"
            )

    def abort(self) -> None:
        import av.error

        output, self._output = self._output, None
        if output is not None:
            with suppress(av.error.FFmpegError, OSError, ValueError):  # whoever gave up tells why
                output.close()
        if self._companions:
            self._companions.close()
        remove(self._temporary)  # after `close` it is gone already


def _fraction(stream: VideoStream) -> Fraction:
    assert stream.time_base is not None
    return Fraction(stream.time_base.numerator, stream.time_base.denominator)
