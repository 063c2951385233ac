"""Text subtitles for containers that hold them in another coding only: coded anew, with the same words and times."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.subtitles.codeccontext import SubtitleCodecContext
    from av.subtitles.stream import SubtitleStream

_TEXT = ("subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text")
_HELD = {"mp4": "mov_text", "mov": "mov_text", "webm": "webvtt", "matroska": "subrip"}
"""Container -> FFmpeg's encoder of the text subtitles it holds."""
_BASE = Fraction(1, 1000)


def encoder_for(muxer: str, stream: Stream) -> str:
    """The coding that a subtitle stream could be given for a container; empty where there is none."""
    if stream.type != "subtitle" or stream.codec_context is None or stream.codec_context.codec.name not in _TEXT:
        return ""
    return _HELD.get(muxer, "")


class SubtitleCoder:
    """Turns the packets of one subtitle stream into another coding.

    Args:
        output: Nothing written to it yet; gets the stream.
        template: The stream of the source.
        encoder: See `encoder_for`.
    """

    def __init__(self, output: OutputContainer, template: Stream, encoder: str) -> None:
        self._decoder = cast("SubtitleCodecContext", template.codec_context)
        if not self._decoder.is_open:
            self._decoder.open()  # only then it knows the header that tells of styles
        self.stream = cast("SubtitleStream", output.add_stream(encoder))
        context = self.stream.codec_context
        context.subtitle_header = self._decoder.subtitle_header
        context.time_base = self.stream.time_base = _BASE
        context.open()
        self._encoder = context

    def coded(self, packet: Packet[Stream]) -> Packet[Stream] | None:
        """The packet in the new coding, with its times; None for one without text.

        Raises:
            av.error.InvalidDataError: There is no sense in it.
        """
        text = self._decoder.decode2(packet)
        if text is None or not len(text):
            return None
        made = cast("Packet[Stream]", self._encoder.encode_subtitle(text))
        made.pts = made.dts = packet.pts
        made.duration, made.time_base = packet.duration, packet.time_base
        return made
