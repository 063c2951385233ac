"""What goes from source to sink without a network in between comes out as it went in: time, tags, pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.sources import open_source
from tests.clips import B_FRAMES, FULL_RANGE_709, Sound, make_clip
from tests.facts import facts
from tests.kept import assert_others_kept, assert_video_kept, both, through

MS = Fraction(1, 1000)
IRREGULAR = [500, 540, 660, 700, 712, 800, 1500, 1540, 1541, 1600]


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
@pytest.mark.parametrize(
    ("ending", "codec"),
    [(".mkv", "libsvtav1"), (".mkv", "libvpx-vp9"), (".webm", "libvpx-vp9"), (".mkv", "ffv1")],
)
def test_the_shape_of_pixels_beside_a_codec_that_does_not_hold_it(
    tmp_path: Path, ending: str, codec: str, shape: Fraction
):
    """VP9 and AV1 say nothing of it, and in Matroska it was lost: pictures came out squeezed. FFV1 was thought to say
    it, and lost it without a word."""
    source = make_clip(tmp_path / "in.mp4", width=720, height=480, frames=3, sample_aspect_ratio=shape)
    _, after, warnings = both(tmp_path, source, ending, codec=codec, preset=None if codec == "ffv1" else "8")
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


# --- Pictures ---------------------------------------------------------------------------------------------------------


def test_a_video_to_pictures_and_back(tmp_path: Path):
    source = make_clip(tmp_path / "in.mp4", frames=7)
    through(source, tmp_path / "pictures", preset=None)
    through(tmp_path / "pictures", tmp_path / "out.mp4")
    after = facts(tmp_path / "out.mp4")
    assert after.pts == [Fraction(n, 25) for n in range(7)]
    assert after.average_rate == 25
