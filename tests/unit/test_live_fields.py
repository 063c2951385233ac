"""Interlaced video stays so in a live stream, or it is said that it can't."""

from __future__ import annotations

from pathlib import Path

import av
import msgspec
import pytest

from pipeline.frame import StreamInfo
from pipeline.live.decode import as_frame
from pipeline.live.encoder import LiveEncoder, even_size
from pipeline.live.messages import TICKS
from pipeline.live.reader import Read
from pipeline.live_status import LiveOrder
from pipeline.sinks.live import live_destination
from pipeline.sinks.live_muxer import LiveMuxer
from pipeline.sources import open_source
from pipeline.sources.live import LiveSource
from pipeline.sources.live_address import live_address
from tests.interlaced_clips import interlaced_clip


def reads(path: Path) -> list[Read]:
    """What the decode stage would send of a film."""
    with LiveSource(str(path), live_address(str(path)), open_timeout=5, stall_timeout=5, sound=False) as source:
        frames = [frame for _, frame in zip(range(10), source, strict=False) if isinstance(frame, av.VideoFrame)]
        info = source.info(frames[0])
    return [Read(frame, info, n * TICKS // 25, 0.0, n) for n, frame in enumerate(frames)]


def encoder(info: StreamInfo, codec: str = "libx264") -> LiveEncoder:
    return LiveEncoder(even_size(info), LiveOrder(id="a", source="b", codec=codec, preset="ultrafast", audio=False))


@pytest.mark.parametrize("top_first", [True, False], ids=["tff", "bff"])
@pytest.mark.parametrize("name", ["o.mkv", "o.ts", "o.mp4"])
def test_fields_are_kept(tmp_path: Path, name: str, top_first: bool) -> None:
    """They were flagged as whole pictures, without a word: players showed combs."""
    film = reads(interlaced_clip(tmp_path / "in.mkv", top_first))
    made = encoder(film[0].info)
    destination = live_destination(str(tmp_path / name), overwrite=False, encoder="libx264", sound=False)
    muxer = LiveMuxer(destination, stdout=-1, segment_time=0, keep=0, overwrite=False)
    packets = [packet for read in film for packet in made.picture(as_frame(read, ""), read.info)] + made.flush()
    muxer.open(packets[0][0], packets[0][2])
    for packet in packets:
        muxer.write(*packet)
    muxer.close()
    assert made.warnings == []
    with av.open(str(tmp_path / name)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == len(film) == 10
    assert all(frame.interlaced_frame for frame in frames)
    with open_source(str(tmp_path / name)) as again:
        assert (again.info.field_order in (2, 4)) == top_first


@pytest.mark.parametrize(
    ("codec", "height", "said"),
    [("h265", 48, "libx265 cannot say; libx264 can"), ("h264", 50, "libx264 cannot say in 50 lines")],
)
def test_what_cannot_be_kept_is_told(tmp_path: Path, codec: str, height: int, said: str) -> None:
    (first, *_) = reads(interlaced_clip(tmp_path / "in.mkv", True, "mpeg2video", height))
    made = encoder(first.info, codec)
    made.picture(as_frame(first, ""), first.info)
    assert made.warnings == [f"the video is interlaced, which {said}"]


def test_a_source_that_comes_back_interlaced_is_told(tmp_path: Path) -> None:
    """Once, whatever was told before: any other note kept it back."""
    (first, *_) = reads(interlaced_clip(tmp_path / "in.mkv", True))
    made = encoder(msgspec.structs.replace(first.info, field_order=0))
    made.warnings.append("another note")
    for _ in range(2):
        made.picture(as_frame(first, ""), first.info)
    assert len(made.warnings) == 2
    assert "has become interlaced" in made.warnings[1]
