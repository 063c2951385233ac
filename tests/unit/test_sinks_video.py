"""Video files as sinks: pixels, time, and the source as its own destination."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DerainError
from pipeline.frame import Frame
from pipeline.sinks import EncodeOptions, open_sink
from tests.clips import B_FRAMES, Sound, make_clip, planes_of
from tests.facts import facts
from tests.sinking import LOSSLESS, frame_of, info_of, write

# --- Pixels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 48), (64, 46), (33, 21), (1, 1)])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "gray"])
def test_lossless_is_bit_for_bit(tmp_path: Path, size: tuple[int, int], pixel_format: str):
    info = info_of(*size, pixel_format)
    write(tmp_path / "a.mkv", info)
    held = facts(tmp_path / "a.mkv")
    assert (held.size, held.pixel_format) == (size, pixel_format)
    for index, planes in enumerate(held.planes):
        for plane, expected in zip(planes, planes_of(index, *size, pixel_format), strict=True):
            np.testing.assert_array_equal(plane, expected)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("size", [(65, 49), (64, 49), (65, 48)])
def test_an_odd_size_is_kept_with_larger_chroma_that_shrinks_back_to_the_same(
    tmp_path: Path, codec: str, size: tuple[int, int]
):
    info = info_of(*size)
    sink = write(tmp_path / "a.mp4", info, EncodeOptions(codec=codec, crf=0, preset="ultrafast"))
    layout = "4:4:4" if size[0] % 2 else "4:2:2"
    assert any(f"is odd, which {codec} has no 4:2:0 for: encoded as {layout}" in told for told in sink.warnings)
    held = facts(tmp_path / "a.mp4")
    assert held.size == size
    for index, (luma, *chroma) in enumerate(held.planes):
        expected = planes_of(index, *size)
        assert abs(luma.astype(int) - expected[0]).max() <= 5  # x265 is not lossless at crf 0
        for plane, wanted in zip(chroma, expected[1:], strict=True):
            smaller = plane[::2, :: 2 if size[0] % 2 else 1]
            assert abs(smaller.astype(int) - wanted).max() <= 2


@pytest.mark.parametrize("full_range", [False, True])
def test_rgb_pictures_become_video_of_the_same_colours(tmp_path: Path, full_range: bool):
    """Full range in the source's tags says nothing about the YUV made of RGB, which is limited."""
    info = info_of(pixel_format="rgb24", color_range=2 if full_range else 0, colorspace=0)
    flat = Frame(frame_of(0, info).header, np.full((48, 64, 3), (200, 30, 60), np.uint8).reshape(-1))
    with open_sink(str(tmp_path / "a.mp4"), info, EncodeOptions(crf=1)) as sink:
        sink.write(flat)
    held = facts(tmp_path / "a.mp4")
    assert (held.colours[0], held.colours[3]) == (1, 1)
    luma = (0.2126 * 200 + 0.7152 * 30 + 0.0722 * 60) / 255
    expected = [16 + 219 * luma, 128 + 224 * (60 / 255 - luma) / 1.8556, 128 + 224 * (200 / 255 - luma) / 1.5748]
    assert [float(plane.mean()) for plane in held.planes[0]] == pytest.approx(expected, abs=1)


def test_lossless_rgb_stays_rgb(tmp_path: Path):
    info = info_of(pixel_format="rgb24", color_range=2, colorspace=0)
    write(tmp_path / "a.mkv", info)
    held = facts(tmp_path / "a.mkv")
    assert held.pixel_format == "bgr0"


def test_a_video_that_changes_its_size_is_scaled_and_told_once(tmp_path: Path):
    large, small = info_of(64, 48), info_of(32, 24)
    with open_sink(str(tmp_path / "a.mkv"), large, LOSSLESS) as sink:
        for index in range(4):
            sink.write(frame_of(index, large if index < 2 else small))
    assert facts(tmp_path / "a.mkv").size == (64, 48)
    assert [w for w in sink.warnings if "scaled" in w] == sink.warnings
    assert len(sink.warnings) == 1


def test_pictures_of_different_sizes_are_no_video(tmp_path: Path):
    large, small = info_of(64, 48, "rgb24"), info_of(32, 24, "rgb24")
    sink = open_sink(str(tmp_path / "a.mkv"), large, LOSSLESS)
    sink.write(frame_of(0, large, name="a.png"))
    with pytest.raises(DerainError, match=r"b\.png is 32x24, .* 64x48"):
        sink.write(frame_of(1, small, name="b.png"))
    assert os.listdir(tmp_path) == []


# --- Time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov", ".nut"])
def test_pts_come_out_as_they_went_in(tmp_path: Path, ending: str):
    pts = [7, 40, 41, 300, 333, 1500]
    sink = write(tmp_path / f"a{ending}", info_of(), EncodeOptions(), pts=pts)
    assert facts(tmp_path / f"a{ending}").pts == [Fraction(at, 1000) for at in pts] or ending == ".nut"
    assert (sink.warnings == []) == (ending != ".nut")


def test_a_container_that_cannot_start_below_zero_shifts_all_and_says_so(tmp_path: Path):
    sink = write(tmp_path / "a.ts", info_of(time_base=(1, 90_000)), EncodeOptions(), pts=[0, 3600, 7200, 10800])
    assert len(sink.warnings) == 1
    assert "later than in the source" in sink.warnings[0]
    pts = facts(tmp_path / "a.ts").pts
    assert [at - pts[0] for at in pts] == [Fraction(n, 25) for n in range(4)]


def test_rounding_to_a_coarser_clock_is_told(tmp_path: Path):
    pts = [1001 * n for n in range(4)]
    info = info_of(time_base=(1, 30_000), average_rate=(30_000, 1001))
    assert write(tmp_path / "a.mp4", info, EncodeOptions(), pts=pts).warnings == []
    sink = write(tmp_path / "a.mkv", info, EncodeOptions(), pts=pts)
    assert ["3 pts are rounded" in warning for warning in sink.warnings] == [True]
    assert facts(tmp_path / "a.mp4").pts == [Fraction(at, 30_000) for at in pts]


def test_no_frame_is_lost_where_time_stands_still_or_falls_back(tmp_path: Path):
    pts = [0, 40, 40, 39, 80, 5000, 1000, 1040, 1080]
    sink = write(tmp_path / "a.mp4", info_of(), EncodeOptions(), pts=pts)
    held = facts(tmp_path / "a.mp4").pts
    assert held == sorted(set(held))
    ticks = [int(at * 1000) for at in held]
    assert ticks == [0, 40, 41, 42, 80, 5000, 5040, 5080, 5120]
    assert any("5 frames had a pts that did not rise" in warning for warning in sink.warnings)


def test_the_bitstream_tells_the_frame_rate_not_the_containers_clock(tmp_path: Path):
    """Fed with a clock of 1/90000 s, x264 would write 90,000 frames a second into its headers."""
    info = info_of(time_base=(1, 90_000))
    write(tmp_path / "a.h264.mp4", info, EncodeOptions(), pts=[3600 * n for n in range(5)])
    from av import open as av_open

    with av_open(str(tmp_path / "a.h264.mp4")) as held:
        assert held.streams.video[0].codec_context.framerate == 25


# --- The other streams ------------------------------------------------------------------------------------------------


def test_a_source_may_be_its_own_destination(tmp_path: Path):
    path = make_clip(tmp_path / "a.mp4", options=B_FRAMES, sound=[Sound(0.5)])
    before = facts(path)
    info = info_of(time_base=(1, 25))
    with open_sink(str(path), info, EncodeOptions(overwrite=True), str(path)) as sink:
        for index in range(10):
            sink.write(frame_of(index, info, index))
    after = facts(path)
    assert after.streams[1].packets == before.streams[1].packets
    assert after.streams[0].packets != before.streams[0].packets


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler") or os.geteuid() != 0, reason="only root can be given it")
def test_an_encoder_does_not_run_before_everything_else(tmp_path: Path):
    """As root SVT-AV1 took the highest real-time priority for its threads and the one that opened it, and what that
    started had it too: with two of them busy a browser's test and the machine's own work stood still."""
    info, real_time = info_of(320, 180), {os.SCHED_FIFO, os.SCHED_RR}
    with open_sink(str(tmp_path / "a.mkv"), info, EncodeOptions(codec="libsvtav1")) as sink:
        for index in range(3):
            sink.write(frame_of(index, info))
        scheduled = [os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")]
    assert len(scheduled) > 4
    assert not real_time & set(scheduled)
    assert os.sched_getscheduler(0) not in real_time
