"""One encoder for all outputs of a live stream: pictures and sound in, coded packets out, with nothing held back."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from pipeline.colour import encoded_tags, is_full_range
from pipeline.frame import Frame, StreamInfo
from pipeline.live.messages import TICKS, Coded
from pipeline.live.sound import RATE, SoundTrack
from pipeline.live_status import LiveOrder
from pipeline.sinks.clock import FrameClock
from pipeline.sinks.encoder import add_video, keeps_fields
from pipeline.sinks.feeding import Feeder
from pipeline.sinks.options import EncodeOptions, EncoderSettings, encoder_settings

if TYPE_CHECKING:
    from av import VideoFrame
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

TICK = Fraction(1, TICKS)
_USUAL_RATE = (25, 1)
_LIVE = {
    "libx264": {"tune": "zerolatency", "forced-idr": "1", "sc_threshold": "0"},
    "libx265": {"tune": "zerolatency", "forced-idr": "1"},
    "libsvtav1": {"svtav1-params": "pred-struct=1"},
    "libvpx-vp9": {"deadline": "realtime", "lag-in-frames": "0"},
    "libaom-av1": {"usage": "realtime", "lag-in-frames": "0"},
}
"""Per encoder what makes it give out each frame at once."""
_PRESET = {"libx264": "veryfast", "libx265": "ultrafast", "libsvtav1": "10", "libvpx-vp9": "8", "libaom-av1": "8"}
_CRF = {"libx264": 23.0, "libx265": 26.0}
"""Streams go over lines, so they are a little coarser than files unless the user says otherwise."""
_FIELD_LINES = 4
"""Interlaced 4:2:0 has whole chroma in both fields where its lines are a multiple of this; x264 takes no others."""
_SETS_IN_BAND = ("libx264", "libx265")
"""Encoders whose parameter sets are repeated at each keyframe, for those who join later."""

Made = tuple[Coded, bytes, bytes]
"""A packet's header, its bytes, and with a keyframe what tells the codecs (see `Coded`)."""


def live_settings(order: LiveOrder, info: StreamInfo) -> EncoderSettings:
    """The encoder of a live stream. UsageError where codec, crf or preset do not fit each other."""
    asked = EncodeOptions(codec=order.codec, crf=order.crf, preset=order.preset)
    settings = encoder_settings(asked, info.pixel_format, info.width, info.height)
    options = settings.options | _LIVE.get(settings.codec, {})
    if order.crf is None and settings.codec in _CRF:
        options["crf"] = f"{_CRF[settings.codec]:g}"
    if order.preset is None and settings.codec in _PRESET:
        named = "cpu-used" if settings.codec in ("libvpx-vp9", "libaom-av1") else "preset"
        options[named] = _PRESET[settings.codec]
    return replace(settings, options=options)


def even_size(info: StreamInfo) -> StreamInfo:
    """Sizes that 4:2:0 has whole chroma for: odd ones lose a line, as few players take streams of 4:4:4."""
    return msgspec.structs.replace(
        info, width=max(2, info.width // 2 * 2), height=max(2, info.height // 2 * 2), pixel_format="yuv420p"
    )


class LiveEncoder:
    """Encodes one live stream.

    The size stays what it began with, whatever the source does: players and recordings want one. A frame of another
    size is scaled to it.

    Args:
        info: The stream at its start; see `even_size`.
        order: Codec, quality, keyframe distance.

    Raises:
        UsageError: Codec and quality don't fit.
        DerainError: The encoder does not take such pictures.
    """

    def __init__(self, info: StreamInfo, order: LiveOrder) -> None:
        import av

        self.warnings: list[str] = []
        self._fields_told = False  # that they are lost
        self._settings = live_settings(order, info)
        self.info = info = self._with_fields(info)
        self._tags = encoded_tags(info, self._settings.pixel_format, self._settings.says_range)
        rate = Fraction(*(info.average_rate or _USUAL_RATE))
        self._gop = max(1, round(order.gop * TICKS))
        self._hub: OutputContainer = av.open(io.BytesIO(), "w", format="nut")
        self._stream = add_video(self._hub, self._tags, self._settings, rate, TICK, 0)
        self._stream.codec_context.gop_size = 1 << 16  # keyframes are placed by time, below
        self._sound: AudioStream | None = None
        if info.sound:
            self._sound = self._hub.add_stream("aac", rate=RATE)
            self._sound.codec_context.bit_rate = 128_000
        self._hub.start_encoding()
        self._track = SoundTrack()
        self._clock = FrameClock(TICK, TICK, rate)
        self._feeder = self._made_feeder(info)
        self._fed_as = info
        self._key_at: int | None = None
        told = f"{self._settings.codec} {info.width}x{info.height} {info.sound}".encode()
        self._codecs = zlib.crc32(self._extradata() + told)

    def picture(self, frame: Frame, info: StreamInfo) -> list[Made]:
        """Encode one frame.

        Args:
            frame: yuv420p or gray; its pts on the output clock.
            info: The stream it belongs to, for its colours.
        """
        if is_full_range(info) != is_full_range(self._fed_as):
            self._feeder, self._fed_as = self._made_feeder(info), info
        if info.field_order > 1 >= self.info.field_order and not self._fields_told:
            self._fields_told = True
            self.warnings.append("the source has become interlaced, and what goes out is told as progressive")
        made = self._feeder.feed(frame, self.warnings)
        made.time_base, made.duration = 1 / Fraction(*(self.info.average_rate or _USUAL_RATE)), 1
        pts = frame.header.pts
        made.pts = self._clock.enter(pts, 0)
        self._place_key(made, pts)
        out = list(self._stamped(self._stream.encode(made)))
        if self._sound is not None:
            self._track.keep_up(pts)
            out += self._sounding()
        return out

    def sound(self, pts: int, samples: bytes) -> list[Made]:
        """Take in sound, 16-bit interleaved 48 kHz stereo; nothing comes of it where the stream began without."""
        if self._sound is None:
            return []
        self._track.add(pts, samples)
        return self._sounding()

    def flush(self) -> list[Made]:
        """What the encoders still hold."""
        out = list(self._stamped(self._stream.encode(None)))
        if self._sound is not None:
            out += [self._sound_packet(packet) for packet in self._sound.encode(None)]
        return out

    def _with_fields(self, info: StreamInfo) -> StreamInfo:
        """The stream with its fields where the encoder can say so; else it is told as progressive, and that is told."""
        keeps = keeps_fields(info, self._settings)
        fits = self._settings.codec != "libx264" or info.height % _FIELD_LINES == 0
        if info.field_order <= 1 or (keeps and fits):
            return info
        self._fields_told = True
        why = f" in {info.height} lines" if keeps else "; libx264 can"
        self.warnings.append(f"the video is interlaced, which {self._settings.codec} cannot say{why}")
        return msgspec.structs.replace(info, field_order=0)

    def _made_feeder(self, info: StreamInfo) -> Feeder:
        by_fields = self.info.field_order > 1
        return Feeder(self._tags, self._stream, is_full_range(info), by_fields)

    def _place_key(self, frame: VideoFrame, pts: int) -> None:
        from av.video.frame import PictureType

        if self._key_at is None or pts - self._key_at >= self._gop:
            frame.pict_type, self._key_at = PictureType.I, pts
        else:
            frame.pict_type = PictureType.NONE

    def _stamped(self, packets: list[Packet[VideoStream]]) -> Iterator[Made]:
        for packet in packets:
            self._clock.stamp(packet)
            data, codecs = bytes(packet), b""
            if packet.is_keyframe:
                if self._settings.codec in _SETS_IN_BAND and self._extradata()[:3] in (b"\0\0\0", b"\0\0\1"):
                    data = self._extradata() + data
                codecs = self._codecs_file(data)
            yield self._coded(0, packet), data, codecs

    def _sounding(self) -> list[Made]:
        from av import AudioFrame

        assert self._sound is not None
        out = []
        for at, samples in self._track.take():
            planar = np.ascontiguousarray(samples.T.astype(np.float32) / 32768)
            frame = AudioFrame.from_ndarray(planar, format="fltp", layout="stereo")
            frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), at
            out += [self._sound_packet(packet) for packet in self._sound.encode(frame)]
        return out

    def _sound_packet(self, packet: Packet[AudioStream]) -> Made:
        for name in ("pts", "dts"):
            setattr(packet, name, round(getattr(packet, name) * Fraction(TICKS, RATE)))
        packet.duration = round((packet.duration or 0) * Fraction(TICKS, RATE))
        return self._coded(1, packet), bytes(packet), b""

    def _coded(self, stream: int, packet: Packet[VideoStream] | Packet[AudioStream]) -> Coded:
        assert packet.pts is not None
        assert packet.dts is not None
        return Coded(
            stream=stream,
            pts=packet.pts,
            dts=packet.dts,
            duration=packet.duration or 0,
            key=packet.is_keyframe,
            codecs=self._codecs if stream == 0 else 0,
        )

    def _extradata(self) -> bytes:
        return bytes(self._stream.codec_context.extradata or b"")

    def _codecs_file(self, key: bytes) -> bytes:
        """A NUT file with the streams and one keyframe: FFmpeg's own way to hand on what codecs are set to."""
        import av

        held = io.BytesIO()
        with av.open(held, "w", format="nut") as container:
            video = container.add_stream_from_template(self._stream)
            sound = container.add_stream_from_template(self._sound) if self._sound is not None else None
            for stream, data in ((video, key), (sound, b"\0" * 8)):
                if stream is None:
                    continue
                packet = av.Packet(data)
                packet.pts = packet.dts = 0
                packet.stream, packet.time_base, packet.is_keyframe = stream, TICK, True
                container.mux_one(packet)
        return held.getvalue()
