"""Sound, subtitles, attachments and a second video come out as they went in, or it is told."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.clips import B_FRAMES, Sound, make_clip
from tests.kept import assert_others_kept, assert_video_kept, both, through


def test_everything_matroska_can_hold(tmp_path: Path):
    source = make_clip(
        tmp_path / "in.mkv",
        frames=25,
        options=B_FRAMES,
        sound=[
            Sound(1.3, metadata={"language": "deu"}),
            Sound(0.4, codec="ac3", start=0.5, metadata={"language": "fra", "title": "Second"}, disposition=1),
            Sound(0.5, codec="libopus"),
        ],
        subtitles=[(0.1, 0.4, "It rains"), (0.5, 0.9, "no more")],
        chapters=[(0, 500, "Rain"), (500, 1000, "Sun")],
        attachment=b"a note " * 50,
        metadata={"title": "A title", "custom_key": "a value", "creation_time": "2020-01-02T03:04:05.000000Z"},
        video_metadata={"language": "ita", "title": "The video"},
    )
    before, after, warnings = both(tmp_path, source)
    assert len(before.streams) == 6
    assert_video_kept(before, after)
    assert_others_kept(before, after)
    assert warnings == []


def test_everything_mp4_can_hold(tmp_path: Path):
    source = make_clip(
        tmp_path / "in.mp4",
        frames=25,
        options=B_FRAMES,
        sound=[
            Sound(1.3, metadata={"language": "deu"}),
            Sound(0.4, codec="ac3", start=0.5, metadata={"language": "fra"}),
        ],
        chapters=[(0, 500, "Rain"), (500, 1000, "Sun")],
        cover=True,
        metadata={"title": "A title", "custom_key": "a value", "creation_time": "2020-01-02T03:04:05.000000Z"},
        video_metadata={"language": "ita"},
        muxer={"movflags": "use_metadata_tags"},
    )
    before, after, warnings = both(tmp_path, source)
    assert before.metadata["custom_key"] == "a value"
    assert_video_kept(before, after)
    chapter_titles = [stream for stream in after.streams if stream.kind == "data"]
    assert len(chapter_titles) == 1  # MP4 stores chapters as a track
    before.streams = [stream for stream in before.streams if stream.kind != "data"]
    after.streams = [stream for stream in after.streams if stream.kind != "data"]
    assert_others_kept(before, after)
    assert warnings == []


@pytest.mark.parametrize("seconds", [0.1, 3.0], ids=["shorter", "longer"])
@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts"])
def test_sound_shorter_or_longer_than_the_video_is_whole(tmp_path: Path, ending: str, seconds: float):
    base = Fraction(1, 90_000)  # and from 1 s on, because MPEG-TS has no time before 0 for the decoder to start in
    source = make_clip(
        tmp_path / f"in{ending}",
        pts=[90_000 + 3600 * n for n in range(25)],
        time_base=base,
        sound=[Sound(seconds, start=1)],
    )
    before, after, _ = both(tmp_path, source)
    assert after.streams[1].packets == before.streams[1].packets
    assert len(after.streams[1].packets) >= int(seconds * 48000 / 1024)


def test_sound_that_starts_later_than_the_video(tmp_path: Path):
    source = make_clip(tmp_path / "in.mp4", frames=25, sound=[Sound(0.5, codec="ac3", start=0.7)])
    before, after, _ = both(tmp_path, source)
    assert after.streams[1].packets == before.streams[1].packets
    assert after.streams[1].packets[0][0] > Fraction(6, 10)


def test_sound_that_starts_before_zero_does_not_shift_the_video(tmp_path: Path):
    """AAC primes its decoder with a packet before 0; by default FFmpeg's Matroska muxer would move everything by it."""
    source = make_clip(tmp_path / "in.mp4", frames=25, sound=[Sound(0.5)])
    before, after, warnings = both(tmp_path, source, ".mkv")
    assert before.streams[1].packets[0][0] < 0
    assert after.pts == before.pts
    assert [round(float(p[0]), 3) for p in after.streams[1].packets] == pytest.approx(
        [float(p[0]) for p in before.streams[1].packets], abs=0.0005
    )
    assert warnings == []


def test_packets_of_sound_lie_between_those_of_the_video(tmp_path: Path):
    """A player must not have to read the whole file to have sound."""

    # longer than the 10 s that FFmpeg's muxer holds back by itself
    source = make_clip(tmp_path / "in.mkv", frames=80, rate=5, sound=[Sound(16)])
    through(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as held:
        order = [(packet.stream_index, float(packet.pts * packet.time_base)) for packet in held.demux() if packet.size]
    latest = {0: 0.0, 1: 0.0}
    for index, seconds in order[: len(order) // 2]:
        latest[index] = max(latest[index], seconds)
        assert abs(latest[0] - latest[1]) < 2


def test_cover_art_becomes_an_attachment_in_matroska(tmp_path: Path):
    source = make_clip(tmp_path / "in.mp4", cover=True)
    before, after, warnings = both(tmp_path, source, ".mkv")
    assert [packet[3] for packet in after.streams[1].packets] == [packet[3] for packet in before.streams[1].packets]
    assert after.streams[1].disposition == before.streams[1].disposition == 0x400
    assert warnings == []


def test_what_a_container_cannot_hold_of_the_streams_is_left_out_and_told(tmp_path: Path):
    source = make_clip(
        tmp_path / "in.mkv", sound=[Sound(0.3)], subtitles=[(0.1, 0.3, "It rains")], attachment=b"a note"
    )
    before, after, warnings = both(tmp_path, source, ".ts")
    assert [stream.kind for stream in after.streams] == ["video", "audio"]
    assert len(after.streams[1].packets) == len(before.streams[1].packets)
    assert [w for w in warnings if "subtitle stream 2 is left out" in w]
    assert [w for w in warnings if "attachment stream 3 is left out" in w]


def test_subtitles_are_brought_to_the_coding_that_the_container_holds(tmp_path: Path):
    """Matroska's SubRip becomes MP4's timed text and comes back with the same words, marks and times."""
    source = make_clip(
        tmp_path / "in.mkv", frames=25, subtitles=[(0.1, 0.3, "It <i>rains</i>"), (0.5, 0.9, "two\nlines")]
    )
    _, as_mp4, warnings = both(tmp_path, source, ".mp4")
    assert [stream.codec for stream in as_mp4.streams] == ["h264", "mov_text"]
    assert len([w for w in warnings if "subtitle stream 1 becomes mov_text" in w]) == 1
    through(tmp_path / "out.mp4", tmp_path / "back.mkv")
    with av.open(str(tmp_path / "back.mkv")) as held:
        packets = [p for p in held.demux(subtitles=0) if p.size]
        assert [(p.pts, p.duration, bytes(p).decode()) for p in packets] == [
            (100, 200, "It <i>rains</i>"),
            (500, 400, "two\nlines"),
        ]


def test_a_second_video_is_copied_and_the_larger_one_is_derained(tmp_path: Path):

    large = make_clip(tmp_path / "large.mkv", codec="libx265")
    small = make_clip(tmp_path / "small.mkv", width=32, height=32)
    with av.open(str(small)) as one, av.open(str(large)) as two, av.open(str(tmp_path / "in.mkv"), "w") as out:
        streams = [(held, out.add_stream_from_template(held.streams.video[0], opaque=True)) for held in (one, two)]
        for held, stream in streams:
            for packet in held.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)
    before, after, warnings = both(tmp_path, tmp_path / "in.mkv")
    assert [stream.codec for stream in before.streams] == ["h264", "hevc"]
    assert [stream.codec for stream in after.streams] == ["h264", "h264"]
    assert after.streams[0] == before.streams[0]
    assert len(after.streams[1].packets) == 10
    assert warnings == []
