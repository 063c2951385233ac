"""What goes from source to sink without a network in between comes out as it went in: time, tags, the other streams.

What is compared is read back by PyAV alone (`tests.clips.facts`), never by our own sources.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from pipeline.sinks import EncodeOptions, Sink, open_sink
from pipeline.sources import open_source
from tests.clips import B_FRAMES, FULL_RANGE_709, Facts, Sound, facts, make_clip

MS = Fraction(1, 1000)
IRREGULAR = [500, 540, 660, 700, 712, 800, 1500, 1540, 1541, 1600]


def through(source_path: Path, destination: Path, **options: object) -> Sink:
    """Decode and encode again, nothing in between."""
    wanted = EncodeOptions(**{"preset": "veryfast"} | options)  # type: ignore[arg-type]
    with open_source(str(source_path)) as source:
        with open_sink(str(destination), source.info, wanted, str(source_path)) as sink:
            for frame in source:
                sink.write(frame)
        assert source.damaged == 0
    return sink


def both(tmp_path: Path, source: Path, ending: str = "", **options: object) -> tuple[Facts, Facts, list[str]]:
    destination = tmp_path / f"out{ending or source.suffix}"
    sink = through(source, destination, **options)
    return facts(source), facts(destination), sink.warnings


def assert_video_kept(before: Facts, after: Facts) -> None:
    assert after.pts == before.pts
    assert after.size == before.size
    assert after.sample_aspect_ratio == before.sample_aspect_ratio
    assert after.colours[1:] == before.colours[1:]
    assert (after.colours[0] == 2) == (before.colours[0] == 2)  # not said means limited, and some encoders say so
    assert after.display_matrix == before.display_matrix
    assert after.chapters == before.chapters
    assert after.metadata == before.metadata
    assert after.streams[after.video].metadata == before.streams[before.video].metadata
    assert after.streams[after.video].disposition == before.streams[before.video].disposition


def assert_others_kept(before: Facts, after: Facts) -> None:
    assert after.video == before.video
    assert [(s.kind, s.codec) for s in after.others()] == [(s.kind, s.codec) for s in before.others()]
    for old, new in zip(before.others(), after.others(), strict=True):
        assert new == old


# --- Time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bf", [0, 2])
@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
def test_irregular_times_and_a_start_that_is_not_zero(tmp_path: Path, ending: str, bf: int):
    source = make_clip(tmp_path / f"in{ending}", pts=IRREGULAR, time_base=MS, options=B_FRAMES | {"bf": str(bf)})
    before, after, warnings = both(tmp_path, source)
    assert after.pts == [at * MS for at in IRREGULAR]
    assert after.streams[0].time_base == before.streams[0].time_base
    assert_video_kept(before, after)
    assert warnings == []


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(50), Fraction(12)])
@pytest.mark.parametrize("ending", [".mp4", ".ts"])
def test_rates(tmp_path: Path, ending: str, rate: Fraction):
    base = Fraction(1, 90_000)
    pts = [90_000 + round(n / rate / base) for n in range(12)]
    muxer = {"mpegts_copyts": "1"} if ending == ".ts" else {}
    source = make_clip(tmp_path / f"in{ending}", pts=pts, time_base=base, rate=rate, muxer=muxer)
    before, after, warnings = both(tmp_path, source)
    assert after.pts == before.pts == [at * base for at in pts]
    assert after.average_rate == before.average_rate
    assert warnings == []


def test_durations_and_the_length_of_the_stream(tmp_path: Path):
    source = make_clip(tmp_path / "in.mp4", frames=20, options=B_FRAMES)
    before, after, _ = both(tmp_path, source)
    assert after.durations == before.durations
    assert after.average_rate == before.average_rate == 25


def test_a_time_base_that_is_not_one_over_a_number(tmp_path: Path):
    """AVI counts frames: at 30000/1001 its clock ticks each 1001/30000 s."""
    source = make_clip(tmp_path / "in.avi", codec="mpeg4", rate=Fraction(30_000, 1001))
    before, after, _ = both(tmp_path, source, ".mp4")
    assert after.pts == before.pts
    assert after.average_rate == before.average_rate == Fraction(30_000, 1001)


# --- Codecs in, codecs out --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "ending"),
    [("libx264", ".mp4"), ("libx265", ".mp4"), ("libx265", ".mkv"), ("libsvtav1", ".mp4"), ("libvpx-vp9", ".mkv")],
)
def test_any_codec_in(tmp_path: Path, codec: str, ending: str):
    source = make_clip(tmp_path / f"in{ending}", codec=codec, pts=IRREGULAR, time_base=MS, sound=[Sound(1.2)])
    before, after, warnings = both(tmp_path, source)
    assert after.streams[0].codec == "h264"
    assert_video_kept(before, after)
    assert_others_kept(before, after)
    assert warnings == []


@pytest.mark.parametrize(
    ("codec", "preset"), [("libx265", "ultrafast"), ("libsvtav1", "10"), ("libvpx-vp9", "8"), ("ffv1", None)]
)
@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_any_codec_out(tmp_path: Path, codec: str, preset: str | None, ending: str):
    source = make_clip(
        tmp_path / f"in{ending}", pts=IRREGULAR, time_base=MS, tags=FULL_RANGE_709, options=B_FRAMES, rotation=180
    )
    before, after, warnings = both(tmp_path, source, codec=codec, preset=preset)
    assert_video_kept(before, after)
    assert warnings == []


@pytest.mark.parametrize("codec", ["ffv1", "libvpx-vp9"])
@pytest.mark.parametrize("size", [(33, 21), (64, 21), (33, 48)])
def test_odd_sizes(tmp_path: Path, codec: str, size: tuple[int, int]):
    source = make_clip(tmp_path / "in.mkv", codec=codec, width=size[0], height=size[1])
    before, after, _ = both(tmp_path, source)
    assert after.size == size
    assert_video_kept(before, after)


# --- Tags -------------------------------------------------------------------------------------------------------------

TAGS = {
    "full-range bt709": FULL_RANGE_709,
    "limited bt709": FULL_RANGE_709 | {"color_range": 1},
    "limited, the rest not said": {"color_range": 1},
    "bt601": {"color_range": 1, "color_primaries": 6, "color_trc": 6, "colorspace": 6},
    "bt2020": {"color_range": 1, "color_primaries": 9, "color_trc": 14, "colorspace": 9},
    "nothing said": {},
}


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)
@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_colour_tags(tmp_path: Path, ending: str, tags: dict[str, int]):
    before, after, _ = both(tmp_path, make_clip(tmp_path / f"in{ending}", tags=tags))
    assert after.colours == before.colours


def test_a_range_that_is_said_is_said_again(tmp_path: Path):
    """x264 writes no range unless it has other colour tags to write."""
    source = make_clip(tmp_path / "in.mp4", codec="libx265", tags={"color_range": 1})
    before, after, _ = both(tmp_path, source)
    assert after.colours == before.colours == (1, 2, 2, 2)


def test_the_place_of_chroma(tmp_path: Path):
    source = make_clip(tmp_path / "in.mp4", options={"chroma_sample_location": "topleft"})
    through(source, tmp_path / "out.mp4")
    with open_source(str(tmp_path / "out.mp4")) as again:
        assert again.info.chroma_location == 3


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
def test_rotation(tmp_path: Path, ending: str, degrees: int):
    before, after, warnings = both(tmp_path, make_clip(tmp_path / f"in{ending}", rotation=degrees))
    assert before.rotation % 360 == degrees
    assert after.display_matrix == before.display_matrix
    assert warnings == []


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts"])
def test_the_shape_of_pixels(tmp_path: Path, ending: str):
    before, after, _ = both(tmp_path, make_clip(tmp_path / f"in{ending}", sample_aspect_ratio=Fraction(64, 45)))
    assert after.sample_aspect_ratio == before.sample_aspect_ratio == Fraction(64, 45)


@pytest.mark.parametrize("shape", [Fraction(64, 45), Fraction(8, 9), Fraction(40, 33)])
@pytest.mark.parametrize(("ending", "codec"), [(".mkv", "libsvtav1"), (".mkv", "libvpx-vp9"), (".webm", "libvpx-vp9")])
def test_the_shape_of_pixels_beside_a_codec_that_does_not_hold_it(
    tmp_path: Path, ending: str, codec: str, shape: Fraction
):
    """VP9 and AV1 say nothing of it, and in Matroska it was lost: pictures came out squeezed."""
    source = make_clip(tmp_path / "in.mp4", width=720, height=480, frames=3, sample_aspect_ratio=shape)
    _, after, warnings = both(tmp_path, source, ending, codec=codec, preset="8")
    assert after.sample_aspect_ratio == shape
    assert after.rotation == 0
    assert not [warning for warning in warnings if "pixels" in warning]


def test_what_a_container_cannot_hold_of_the_tags_is_told(tmp_path: Path):
    source = make_clip(tmp_path / "in.mp4", rotation=90, sample_aspect_ratio=Fraction(4, 3), chapters=[(0, 200, "One")])
    _, after, warnings = both(tmp_path, source, ".ts")
    assert after.rotation == 0
    assert sum("rotation of 90" in warning for warning in warnings) == 1
    assert sum("1 chapters are left out" in warning for warning in warnings) == 1
    _, after, warnings = both(tmp_path, source, ".webm", codec="libvpx-vp9", preset="8")
    assert after.sample_aspect_ratio != Fraction(4, 3)  # its place is the rotation's
    assert sum("pixels are 4:3" in warning for warning in warnings) == 1


# --- The other streams ------------------------------------------------------------------------------------------------


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


# --- Pictures ---------------------------------------------------------------------------------------------------------


def test_a_video_to_pictures_and_back(tmp_path: Path):
    source = make_clip(tmp_path / "in.mp4", frames=7)
    through(source, tmp_path / "pictures", preset=None)
    through(tmp_path / "pictures", tmp_path / "out.mp4")
    after = facts(tmp_path / "out.mp4")
    assert after.pts == [Fraction(n, 25) for n in range(7)]
    assert after.average_rate == 25
