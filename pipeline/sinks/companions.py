"""All that a source file holds besides the video that is derained: audio, subtitles, cover art, data, attachments
(copied packet by packet, text subtitles brought to the container's own coding), chapters and metadata."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING, cast

from pipeline.sinks.containers import HAS_CHAPTERS, ISO, add_copy, refusal
from pipeline.sinks.subtitles import SubtitleCoder, encoder_for
from pipeline.sinks.timeline import Timeline
from pipeline.sources.streams import ignore, is_cover, is_ignored, main_video, open_container, reading

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

_MADE_BY_THE_MUXER = {"major_brand", "minor_version", "compatible_brands", "encoder"}
_OF_THE_OLD_CODING = ("encoder", "vendor_id", "bps", "number_of_frames", "number_of_bytes", "_statistics_")
"""Beginnings of the keys by which a video stream tells of the coding that is replaced."""

_WELL_KNOWN = {
    *("title", "artist", "album_artist", "composer", "album", "date", "comment", "genre", "copyright", "grouping"),
    *("lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords", "episode_sort", "track"),
    *("season_number", "media_type", "hd_video", "gapless_playback", "compilation", "disc", "creation_time"),
    *("encoding_tool", "location", "timecode"),
}
"""Keys the MP4 muxer stores without being asked to store others too."""

_USUAL_TIMESCALE = 1000
"""Ticks a second of an MP4 file as FFmpeg writes it by default."""


class Companions:
    """The rest of one source file, on its way into one output.

    The source is opened a second time here, and of it only the streams that are copied are read.

    Args:
        source: Path of the file the frames come from.
        muxer: FFmpeg's name of the output's container.
        warnings: Where to tell what is left out or changed.
    """

    def __init__(self, source: str, muxer: str, warnings: list[str]) -> None:
        self._warnings = warnings
        self._source = source
        self._muxer = muxer
        self._input: InputContainer = open_container(source, partial=True)
        try:
            self._video = main_video(self._input, source)
            ignore(self._video)
            self._recoded: dict[int, str] = {}  # streams that only fit in another coding, and which
            self._coders: dict[int, SubtitleCoder] = {}
            self._copied = [stream for stream in self._input.streams if self._is_wanted(stream)]
        except BaseException:
            self._input.close()
            raise
        self._outputs: dict[int, Stream] = {}
        self._timelines: dict[int, Timeline] = {}
        self._refused: dict[int, list[float | None]] = {}  # times of packets that the muxer can make nothing of
        self._output: OutputContainer | None = None
        self._packets: Iterator[Packet[Stream]] = iter(())
        self._waiting: Packet[Stream] | None = None
        self.earliest = Fraction(0)
        """The lowest dts copied if below 0, in seconds."""

    def muxer_options(self) -> dict[str, str]:
        """Options the output has to be opened with so that it can hold what is copied exactly."""
        if self._muxer not in ISO:
            return {}
        options = {"movie_timescale": str(self._movie_timescale())}
        if set(self._metadata()) - _WELL_KNOWN:
            options["movflags"] = "use_metadata_tags"
        return options

    def described(self) -> list[str]:
        """What is copied, one line each."""
        told = []
        for stream in self._copied:
            codec = getattr(stream, "name", None) or "unknown"
            language = stream.metadata.get("language", "")
            told.append(f"{stream.type} stream {stream.index}: {codec}" + (f" ({language})" if language else ""))
        chapters = self._input.chapters()
        if chapters and self._muxer in HAS_CHAPTERS:
            told.append(f"{len(chapters)} chapters")
        return told

    def start(self) -> Fraction:
        """Where the earliest stream of the source starts, in seconds."""
        return min(self._starts(), default=Fraction(0))

    def _starts(self) -> list[Fraction]:
        streams = (self._video, *self._copied)
        return [Fraction(s.start_time * s.time_base) for s in streams if s.start_time and s.time_base]

    def _movie_timescale(self) -> int:
        """Ticks a second in which MP4 counts a stream's start and the length of chapters.

        The smallest from 1000 up in which every stream starts at a whole tick. Chapters must stay below 2^31 ticks.
        """
        whole = lcm(*(start.denominator for start in self._starts()))
        timescale = whole * -(-_USUAL_TIMESCALE // whole)
        longest = max((c["end"] * c["time_base"] for c in self._input.chapters() if c["time_base"]), default=0)
        return timescale if timescale * max(longest, 1) < 2**31 else _USUAL_TIMESCALE

    def add_before_video(self, output: OutputContainer) -> None:
        """Add the streams that come before the video in the source, so that the order stays."""
        self._output = output
        self._add(stream for stream in self._copied if stream.index < self._video.index)

    def add_after_video(self, output: OutputContainer, video: Stream) -> None:
        """Add the other streams, and give the output and its video their metadata and chapters."""
        self._add(stream for stream in self._copied if stream.index > self._video.index)
        output.metadata.update(self._metadata())
        kept = _stream_metadata(self._video)
        video.metadata.update({k: v for k, v in kept.items() if not k.lower().startswith(_OF_THE_OLD_CODING)})
        video.disposition = self._video.disposition
        chapters = self._input.chapters()
        if chapters and self._muxer in HAS_CHAPTERS:
            output.set_chapters(chapters)
        elif chapters:
            self._warnings.append(f"{len(chapters)} chapters are left out: {self._muxer} cannot hold chapters")
        moving = [
            self._input.streams[index] for index in self._outputs if self._input.streams[index].type != "attachment"
        ]
        if moving:
            self._packets = self._input.demux(*moving)
            self._waiting = self._next()

    def copy_until(self, seconds: Fraction | None) -> None:
        """Copy the packets that are to be decoded up to this moment; None copies all that are left."""
        assert self._output is not None
        while self._waiting is not None:
            packet = self._waiting
            if seconds is not None and packet.dts is not None and packet.dts * packet.time_base > seconds:
                return
            self._mux(packet)
            self._waiting = self._next()

    def close(self) -> None:
        for index, timeline in self._timelines.items():
            if timeline.moved:
                stream = self._input.streams[index]
                self._warnings.append(
                    f"{stream.type} stream {index}: {timeline.moved} timestamps did not rise and were moved"
                )
        for index, times in self._refused.items():
            stream, first = self._input.streams[index], next((at for at in times if at is not None), None)
            when = "" if first is None else f", the first at {first:.3f} s"
            self._warnings.append(f"{stream.type} stream {index}: {len(times)} packets are damaged and left out{when}")
        self._timelines, self._refused = {}, {}
        self._waiting = None
        self._input.close()

    def _is_wanted(self, stream: Stream) -> bool:
        if stream.index == self._video.index:
            return False
        if stream.type == "data" and is_ignored(stream):
            return False  # QuickTime's chapter titles, which the demuxer has turned into chapters
        if stream.type == "data" and "timecode" in stream.metadata and self._muxer != "mpegts":
            return False  # QuickTime's timecode track: it is in the video's metadata too, and muxers make it from there
        reason = "" if self._goes_as_attachment(stream) else refusal(self._muxer, stream)
        if reason and (encoder := encoder_for(self._muxer, stream)):
            self._recoded[stream.index] = encoder
            self._warnings.append(f"subtitle stream {stream.index} becomes {encoder}: {reason}")
            return True
        if reason:
            ignore(stream)
            self._warnings.append(f"{stream.type} stream {stream.index} is left out: {reason}")
        return not reason

    def _add(self, streams: Iterator[Stream]) -> None:
        assert self._output is not None
        for stream in streams:
            if self._goes_as_attachment(stream):
                self._attach(stream)
                continue
            if stream.index in self._recoded:
                coder = SubtitleCoder(self._output, stream, self._recoded[stream.index])
                self._coders[stream.index] = coder
                added: Stream = coder.stream
            else:
                added = add_copy(self._output, stream)
            added.metadata.update(_stream_metadata(stream))
            added.disposition = stream.disposition
            self._outputs[stream.index] = added
            self._timelines[stream.index] = Timeline(strict=stream.type in ("audio", "video"))

    def _goes_as_attachment(self, stream: Stream) -> bool:
        """Cover art is a video stream to FFmpeg's demuxers, but Matroska's muxer knows it as an attachment only."""
        return self._muxer == "matroska" and is_cover(stream)

    def _attach(self, cover: Stream) -> None:
        assert self._output is not None
        codec = cast("VideoStream", cover).codec_context.codec.name
        ending = {"mjpeg": "jpg"}.get(codec, codec)
        name = cover.metadata.get("filename", f"cover.{ending}")
        kind = cover.metadata.get("mimetype", f"image/{ending}".replace("jpg", "jpeg"))
        with open_container(self._source, partial=True) as again:
            picture = next(packet for packet in again.demux(again.streams[cover.index]) if packet.size)
            self._output.add_attachment(name, kind, bytes(picture))

    def _metadata(self) -> dict[str, str]:
        return {k: v for k, v in self._input.metadata.items() if k.lower() not in _MADE_BY_THE_MUXER}

    def _next(self) -> Packet[Stream] | None:
        import av.error

        with reading(self._source):
            try:
                for packet in self._packets:
                    if packet.size:  # the last packets are empty: they tell decoders to flush
                        return packet
            except av.error.InvalidDataError:
                self._warnings.append(f"{self._source}: audio and the like cannot be read any further than here")
        return None

    def _mux(self, packet: Packet[Stream]) -> None:
        import av.error

        assert self._output is not None
        index = packet.stream_index
        if packet.dts is None:
            packet.dts = packet.pts
        if packet.dts is not None:
            placed = self._timelines[index].place(packet.dts, packet.duration or 0)
            if packet.pts is not None:
                packet.pts += placed - packet.dts
            packet.dts = placed
            self.earliest = min(self.earliest, placed * packet.time_base)
        at = packet.dts * packet.time_base if packet.dts is not None else None
        try:
            coded = self._coders[index].coded(packet) if index in self._coders else packet
            if coded is not None:
                coded.stream = self._outputs[index]
                self._output.mux_one(coded)
        except av.error.InvalidDataError:  # of the packet, not of the output: its header makes no sense
            self._refused.setdefault(index, []).append(float(at) if at is not None else None)


def _stream_metadata(stream: Stream) -> dict[str, str]:
    """What to tell the muxer about a stream, which is not always what the demuxer said."""
    kept = {key: value for key, value in stream.metadata.items() if key.lower() != "duration"}  # muxers write their own
    if "name" in kept and "title" not in kept:
        kept["title"] = kept.pop("name")  # FFmpeg reads an MP4 track's title as "name", but writes it from "title"
    return kept
