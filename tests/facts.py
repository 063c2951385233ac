"""Reads back what a video file holds. Everything through PyAV alone, so that what our sources and sinks do is checked
against something that is not ours.

>>> facts("all.mkv").streams[1].packets
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray


@dataclass
class StreamFacts:
    """What a stream holds. `packets` are (pts, dts, duration, digest of the data), times in seconds."""

    kind: str
    codec: str
    time_base: Fraction
    disposition: int
    metadata: dict[str, str]
    packets: list[tuple[Fraction | None, Fraction | None, Fraction, str]]


@dataclass
class Facts:
    """What a file holds. `video` is the first video stream that is no cover art."""

    format: str
    metadata: dict[str, str]
    chapters: list[tuple[Fraction, Fraction, str]]
    streams: list[StreamFacts]
    video: int
    size: tuple[int, int]
    average_rate: Fraction | None
    sample_aspect_ratio: Fraction
    colours: tuple[int, int, int, int]  # range, primaries, transfer, matrix
    rotation: int
    display_matrix: tuple[int, ...]
    pixel_format: str
    pts: list[Fraction]  # of the decoded frames, in seconds
    durations: list[Fraction]
    planes: list[list[NDArray[np.uint8]]]

    def others(self) -> list[StreamFacts]:
        """All streams but the video."""
        return [stream for index, stream in enumerate(self.streams) if index != self.video]


_NOT_COMPARED = ("encoder", "duration", "vendor_id", "major_brand", "minor_version", "compatible_brands")


def facts(path: str | Path) -> Facts:
    """Read a file to its end, packets and frames."""
    with av.open(str(path)) as held:
        index = next(s.index for s in held.streams.video if not s.disposition & 0x400)
        streams = [
            StreamFacts(s.type, _codec(s), s.time_base, int(s.disposition), _kept(s.metadata), []) for s in held.streams
        ]
        for packet in held.demux():
            if packet.size:
                streams[packet.stream_index].packets.append(_packet(packet))
    with av.open(str(path)) as held:
        video = held.streams[index]
        assert isinstance(video, av.VideoStream)
        frames = list(held.decode(video))
        first = frames[0]
        matrix = [np.frombuffer(memoryview(d), np.int32) for d in first.side_data if d.type.name == "DISPLAYMATRIX"]
        context, base = video.codec_context, video.time_base
        return Facts(
            format=held.format.name,
            metadata=_kept(held.metadata),
            chapters=[
                (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"].get("title", ""))
                for c in held.chapters()
            ],
            streams=streams,
            video=index,
            size=(context.width, context.height),
            average_rate=video.average_rate,
            sample_aspect_ratio=video.sample_aspect_ratio or context.sample_aspect_ratio or Fraction(1),
            colours=(first.color_range, first.color_primaries, first.color_trc, first.colorspace),
            rotation=first.rotation,
            display_matrix=tuple(int(n) for n in matrix[0]) if matrix else (),
            pixel_format=first.format.name,
            pts=[frame.pts * base for frame in frames],
            durations=[frame.duration * base for frame in frames],
            planes=[_planes(frame) for frame in frames],
        )


def _codec(stream: Any) -> str:
    return stream.codec_context.codec.canonical_name if stream.codec_context else ""


def _kept(metadata: dict[str, str]) -> dict[str, str]:
    return {key.lower(): value for key, value in metadata.items() if key.lower() not in _NOT_COMPARED}


def _packet(packet: Any) -> tuple[Fraction | None, Fraction | None, Fraction, str]:
    base = packet.time_base
    return (
        None if packet.pts is None else packet.pts * base,
        None if packet.dts is None else packet.dts * base,
        (packet.duration or 0) * base,
        hashlib.md5(bytes(packet)).hexdigest(),
    )


def _planes(frame: av.VideoFrame) -> list[NDArray[np.uint8]]:
    rows = [np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size) for plane in frame.planes]
    return [row[: plane.height, : plane.width].copy() for row, plane in zip(rows, frame.planes, strict=True)]
