"""Writes coded packets of a live stream into one file or connection at a time."""

from __future__ import annotations

import errno
import io
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from typing import TYPE_CHECKING

from pipeline.errors import DerainError
from pipeline.live.messages import TICKS, Coded
from pipeline.redact import redact, scrub
from pipeline.sinks.attempt import remove_if_empty
from pipeline.sinks.hls_files import FULL, HlsFiles
from pipeline.sinks.live import LiveDestination
from pipeline.sinks.ring import Ring
from pipeline.sinks.rolling_name import name_now

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream

HLS_ENTRIES = 10
_NOBODY = (errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)
_OPTIONS = {
    "mp4": {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"},  # playable when cut off
    "matroska": {"cluster_time_limit": "1000", "flush_packets": "1"},
    "webm": {"cluster_time_limit": "1000", "flush_packets": "1"},
    "mpegts": {"flush_packets": "1"},
    "flv": {"flvflags": "no_duration_filesize", "flush_packets": "1"},
    "rtsp": {"rtsp_transport": "tcp", "timeout": "5000000"},
}


class LiveMuxer:
    """One destination of a stream, open or not.

    `open` with the packet of a keyframe, then `write` each packet. Timestamps begin at 0 with each opening; HLS alone
    goes on. A rolling recording changes files at the keyframe after `segment_time` seconds.

    Args:
        destination: Where to.
        stdout: File descriptor for "-".
        segment_time: Seconds of a rolling segment.
        keep: Rolling segments that are kept; 0: all. With a number the oldest also gives way to a disk that is full.
        overwrite: Whether the first file may replace one that is there.
    """

    def __init__(
        self, destination: LiveDestination, *, stdout: int, segment_time: float, keep: int, overwrite: bool
    ) -> None:
        self.destination = destination
        self._stdout, self._segment = stdout, round(segment_time * TICKS)
        self._ring = Ring(destination.address, keep) if destination.kind == "rolling" and keep else None
        self._hls = HlsFiles(destination.address) if destination.kind == "hls" else None
        self._unsaved = 0  # frames of a segment of HLS, which is written when it is whole
        self._overwrite = overwrite
        self._made = ""  # the file that is open, where it was not there before
        self._broken = self._full = False  # of what is open: whether writing failed, and for want of room
        self._output: OutputContainer | None = None
        self._template: InputContainer | None = None
        self._streams: list[Stream] = []
        self._started = 0
        self._last: list[int] = []
        self.codecs = 0
        """Of what is open (`Coded.codecs`)."""
        self.left_out = 0
        """Packets whose timestamps did not rise."""
        self.lost = 0
        """Frames that were taken and did not get there, with the segment of HLS that they were of. Whoever has counted
        them sets it back."""
        self.gave_way = 0
        """Segments that were removed before their time, as the disk was full."""

    @property
    def is_open(self) -> bool:
        return self._output is not None

    def open(self, coded: Coded, codecs: bytes) -> None:
        """Open the destination.

        Args:
            coded: A keyframe of the video, which the stream begins with.
            codecs: What came with it.

        Raises:
            DerainError: It can't be opened.
        """
        import av

        self.close()
        if self.destination.host:
            self._look_up()
        template = self._template = av.open(io.BytesIO(codecs), "r", format="nut")
        with self._writing():
            self._output = av.open(
                self._target(), "w", format=self.destination.muxer, container_options=self._options(),
                io_open=self._hls.open if self._hls else None,
            )  # fmt: skip
            self._streams = [self._output.add_stream_from_template(stream) for stream in template.streams]
            try:
                self._output.start_encoding()
            except OSError as error:
                if self.destination.host and error.errno in _NOBODY:
                    why = os.strerror(error.errno)
                    raise DerainError(f"{self.destination.shown}: nobody takes the stream ({why})") from error
                raise
        self._started, self.codecs = coded.dts, coded.codecs
        self._last = [-1] * len(self._streams)

    def write(self, coded: Coded, data: bytes, codecs: bytes) -> None:
        """Write a packet; with the next file, where it is time for one.

        Raises:
            DerainError: It can't be written. What is open is closed.
        """
        import av

        due = self.destination.kind == "rolling" and coded.dts - self._started >= self._segment
        if codecs and (due or coded.codecs != self.codecs):
            self.open(coded, codecs)
        if self._output is None or coded.stream >= len(self._streams):
            return
        start = 0 if self.destination.kind == "hls" else self._started
        dts = coded.dts - start
        if dts <= self._last[coded.stream]:
            self.left_out += 1
            return
        self._last[coded.stream] = dts
        packet = av.Packet(data)
        packet.stream, packet.time_base = self._streams[coded.stream], Fraction(1, TICKS)
        packet.pts, packet.dts, packet.duration = coded.pts - start, dts, coded.duration
        packet.is_keyframe = coded.key
        playlists = self._hls.playlists if self._hls else 0
        with self._writing():
            self._output.mux_one(packet)
        if self._hls:
            self._unsaved = (self._unsaved if self._hls.playlists == playlists else 0) + (coded.stream == 0)

    def close(self) -> None:
        """Close what is open, so that it can be played. DerainError where the end can't be written."""
        output, self._output = self._output, None
        template, self._template = self._template, None
        self._streams = []
        try:
            if output is not None:
                with self._writing():
                    output.close()
        finally:
            if template is not None:
                template.close()
            self._clear_up()

    def abandon(self) -> None:
        """Close as far as it goes; whoever gave up tells why."""
        with suppress(DerainError):
            self.close()

    def _target(self) -> str:
        destination = self.destination
        if destination.kind == "stdout":
            return f"pipe:{self._stdout}"
        if destination.kind == "push":
            packed = destination.address.startswith("udp://") and "pkt_size" not in destination.address
            return destination.address + (("&" if "?" in destination.address else "?") + "pkt_size=1316") * packed
        if self._hls is not None:
            self._hls.begin()
            return f"file:{destination.address}"
        if self._overwrite and destination.kind == "file":
            self._overwrite = False  # only what was there before, never a part of this recording
            return f"file:{destination.address}"
        if self._ring is not None:
            self.gave_way += self._ring.make_room()
        self._made = _free(name_now(destination.address) if destination.kind == "rolling" else destination.address)
        return f"file:{self._made}"

    def _options(self) -> dict[str, str]:
        options = dict(_OPTIONS.get(self.destination.muxer, {}))
        if self.destination.kind == "hls":
            base = os.path.splitext(self.destination.address)[0]
            options |= {
                "hls_time": "2",
                "hls_list_size": str(HLS_ENTRIES),
                "hls_flags": "delete_segments+independent_segments+append_list+temp_file",
                "hls_segment_filename": f"{base}-%05d.ts",
            }
        return options

    def _look_up(self) -> None:
        """See whether the host has an address; for want of one FFmpeg says no more than "Input/output error".

        That is all there is to look at: a connection of ours would use up a listener that takes one (`?listen`), and
        FFmpeg gives up connecting over TCP (RTMP and RTSP too) after 5 s by itself (`pipeline.live.child.SILENCE`: 10).
        """
        try:
            socket.getaddrinfo(self.destination.host, self.destination.port, type=socket.SOCK_STREAM)
        except OSError as error:
            why = error.strerror or str(error)
            raise DerainError(f"{self.destination.shown}: nobody takes the stream ({why})") from error

    def _clear_up(self) -> None:
        """Leave no file without a picture, and no more segments than are kept; a full disk is when both matter."""
        made, broken, full = self._made, self._broken, self._full
        self._made, self._broken, self._full = "", False, False
        self.lost += broken * self._unsaved
        self._unsaved = 0
        if not made:
            return
        empty = (broken or self._last[:1] == [-1]) and remove_if_empty(made)
        if self._ring is not None:
            if not empty:
                self._ring.add(made, cut_off=full)
            self._ring.trim()
            self.gave_way += full and self._ring.give_way()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        import av.error

        try:
            yield
            if self._hls is not None and self._hls.failure is not None:
                raise self._hls.failure
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._broken = True
            self._full = self._full or getattr(error, "errno", None) in FULL
            why = scrub(getattr(error, "strerror", None) or str(error), [self.destination.address], foreign=True)
            raise DerainError(f"{redact(self.destination.address)}: {why}") from error


def _free(name: str) -> str:
    """The name, or the first of NAME-2, NAME-3 … that is not taken."""
    stem, ending = os.path.splitext(name)
    number, tried = 1, name
    while os.path.lexists(tried):
        number += 1
        tried = f"{stem}-{number}{ending}"
    return tried
