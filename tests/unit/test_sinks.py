"""Sinks: the contract all of them keep, then what is special about files and about pictures."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import DerainError, UsageError
from pipeline.frame import Frame, FrameHeader, StreamInfo
from pipeline.sinks import EncodeOptions, Sink, open_sink
from pipeline.sinks.temporary import sweep, temporary_beside
from tests.clips import B_FRAMES, Sound, facts, make_clip, planes_of

LOSSLESS = EncodeOptions(codec="ffv1")


def info_of(width: int = 64, height: int = 48, pixel_format: str = "yuv420p", **changes: object) -> StreamInfo:
    known = {"time_base": (1, 1000), "average_rate": (25, 1)} | changes
    return StreamInfo(width=width, height=height, pixel_format=pixel_format, **known)  # type: ignore[arg-type]


def frame_of(index: int, info: StreamInfo, pts: int | None = None, name: str = "") -> Frame:
    planes = planes_of(index, info.width, info.height, info.pixel_format)
    header = FrameHeader(
        index=index,
        pts=40 * index if pts is None else pts,
        width=info.width,
        height=info.height,
        pixel_format=info.pixel_format,
        duration=40,
        name=name,
    )
    return Frame(header, np.concatenate([plane.reshape(-1) for plane in planes]))


def write(path: Path, info: StreamInfo, options: EncodeOptions = LOSSLESS, pts: list[int] | None = None) -> Sink:
    with open_sink(str(path), info, options) as sink:
        for index, at in enumerate(pts if pts is not None else range(0, 200, 40)):
            sink.write(frame_of(index, info, at))
    return sink


def hidden(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".")]


# --- The contract -----------------------------------------------------------------------------------------------------

SINKS = {
    "mp4": ("out.mp4", EncodeOptions(preset="ultrafast"), "yuv420p"),
    "mkv": ("out.mkv", LOSSLESS, "yuv420p"),
    "grey": ("out.mkv", LOSSLESS, "gray"),
    "folder": ("out", EncodeOptions(), "yuv420p"),
    "folder-of-rgb": ("out", EncodeOptions(), "rgb24"),
}


@pytest.fixture(params=SINKS)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, EncodeOptions, StreamInfo]:
    name, options, pixel_format = SINKS[request.param]
    return tmp_path / name, options, info_of(pixel_format=pixel_format)


def test_the_destination_appears_whole_at_the_end(kind):
    path, options, info = kind
    sink = open_sink(str(path), info, options)
    for index in range(3):
        sink.write(frame_of(index, info))
        assert not path.exists()
        assert len(hidden(path.parent)) == 1
    sink.close()
    assert path.exists()
    assert hidden(path.parent) == []
    assert sink.frames == 3
    assert sink.warnings == []


def test_abort_leaves_nothing(kind):
    path, options, info = kind
    sink = open_sink(str(path), info, options)
    sink.write(frame_of(0, info))
    sink.abort()
    assert os.listdir(path.parent) == []


def test_an_error_while_open_leaves_nothing(kind):
    path, options, info = kind

    def fail_half_way() -> None:
        with open_sink(str(path), info, options) as sink:
            sink.write(frame_of(0, info))
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert os.listdir(path.parent) == []


def test_close_and_abort_may_follow_each_other(kind):
    path, options, info = kind
    sink = open_sink(str(path), info, options)
    sink.write(frame_of(0, info))
    for end in (sink.close, sink.close, sink.abort, sink.close):
        end()
    assert path.exists()


def test_nothing_can_be_written_after_the_end(kind):
    path, options, info = kind
    sink = write(path, info, options)
    with pytest.raises(DerainError, match="is closed"):
        sink.write(frame_of(9, info))
    assert path.exists()


def test_no_frame_is_an_error_not_an_empty_file(kind):
    path, options, info = kind
    sink = open_sink(str(path), info, options)
    with pytest.raises(DerainError, match="no frame arrived"):
        sink.close()
    assert os.listdir(path.parent) == []


def test_refuses_what_exists_and_replaces_it_when_told(kind):
    path, options, info = kind
    write(path, info, options)
    with pytest.raises(DerainError, match=r"exists already.*--overwrite"):
        open_sink(str(path), info, options)
    with open_sink(str(path), info, EncodeOptions(codec=options.codec, overwrite=True)) as sink:
        sink.write(frame_of(0, info))
    assert hidden(path.parent) == []


def test_does_not_replace_a_file_that_came_while_it_was_writing(tmp_path: Path):
    path, info = tmp_path / "out.mkv", info_of()
    sink = open_sink(str(path), info, LOSSLESS)
    sink.write(frame_of(0, info))
    path.write_text("mine")
    with pytest.raises(DerainError, match="exists already"):
        sink.close()
    assert path.read_text() == "mine"
    assert hidden(path.parent) == []


def test_a_missing_folder_is_named(kind):
    path, options, info = kind
    with pytest.raises(DerainError, match=r"there is no folder .*/no"):
        open_sink(str(path.parent / "no" / path.name), info, options)


# --- Disk and processes -----------------------------------------------------------------------------------------------


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As on a full disk: a file cannot grow beyond this many bytes (Python ignores the signal that comes with it)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.ts", "out"])
def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path, name: str):
    rng = np.random.default_rng(0)
    info = info_of(256, 256, "rgb24" if name == "out" else "yuv420p")

    def write_noise() -> None:
        with open_sink(str(tmp_path / name), info, EncodeOptions(preset="ultrafast", crf=1)) as sink:
            for index in range(8):
                frame = frame_of(index, info)
                sink.write(Frame(frame.header, rng.integers(0, 256, frame.pixels.shape, np.uint8)))

    with largest_file(30_000), pytest.raises(DerainError, match=rf"{name}: .*(larger|full)") as caught:
        write_noise()
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written_is_told_before_the_first_frame(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(DerainError, match="there is no folder"):
        open_sink(str(tmp_path / "file" / "out.mp4"), info_of(), EncodeOptions())
    with pytest.raises(DerainError, match="cannot be written"):
        open_sink("/proc/out.mp4", info_of(), EncodeOptions())


def test_sweep_removes_what_killed_processes_left_and_nothing_else(tmp_path: Path):
    destination = str(tmp_path / "out.mp4")
    script = f"from pipeline.sinks.temporary import temporary_beside as t; open(t({destination!r}), 'w')"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
    (left,) = hidden(tmp_path)
    mine = temporary_beside(destination)
    other = temporary_beside(str(tmp_path / "other.mp4")).replace(f"-{os.getpid()}-", "-999999999-")
    for path in (mine, other):
        Path(path).touch()
    assert sweep(destination) == [str(tmp_path / left)]
    assert sorted(hidden(tmp_path)) == sorted(map(os.path.basename, (mine, other)))


def test_long_names_leave_room_for_the_mark(tmp_path: Path):
    path = tmp_path / ("雨" * 80 + ".mkv")
    write(path, info_of())
    assert path.exists()


# --- What is asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.mp4", EncodeOptions(codec="h266"), "no such encoder; choose one of .*libx264"),
        ("a.mp4", EncodeOptions(crf=52), "takes 0 .* to 51"),
        ("a.mp4", EncodeOptions(preset="hasty"), "takes ultrafast"),
        ("a.mkv", EncodeOptions(codec="ffv1", crf=20), "ffv1 is lossless; leave --crf"),
        ("a.webm", EncodeOptions(codec="libx264"), r"cannot hold libx264 video; use .*\.mkv"),
        ("a.avi", EncodeOptions(codec="libx264"), r"cannot hold libx264 video; use .*\.mkv"),
        ("a.ts", EncodeOptions(codec="ffv1"), r"cannot hold ffv1 video; use .*\.mkv"),
        ("a.doc", EncodeOptions(), r"ending '\.doc'; use \.mp4"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage_and_says_what_can(
    tmp_path: Path, name: str, options: EncodeOptions, message: str
):
    with pytest.raises(UsageError, match=message):
        open_sink(str(tmp_path / name), info_of(), options)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("codec", "name", "written"),
    [("h264", "a.mp4", "h264"), ("hevc", "a.mp4", "hevc"), ("av1", "a.mkv", "av1"), ("vp9", "a.webm", "vp9")],
)
def test_codecs_by_their_usual_name(tmp_path: Path, codec: str, name: str, written: str):
    info = info_of()
    write(tmp_path / name, info, EncodeOptions(codec=codec))
    held = facts(tmp_path / name)
    assert held.streams[0].codec == written
    assert held.pts == [Fraction(n, 25) for n in range(5)]
    assert held.average_rate == 25


def test_a_size_the_encoder_cannot_take_is_told(tmp_path: Path):
    with pytest.raises(DerainError, match="libx264 cannot encode 20000x2 yuv420p; use another --codec"):
        open_sink(str(tmp_path / "a.mp4"), info_of(20000, 2), EncodeOptions())
    assert os.listdir(tmp_path) == []


def test_better_crf_is_larger(tmp_path: Path):
    info = info_of()
    sizes = []
    for crf in (10, 40):
        write(tmp_path / f"{crf}.mp4", info, EncodeOptions(crf=crf))
        sizes.append((tmp_path / f"{crf}.mp4").stat().st_size)
    assert sizes[0] > sizes[1]


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


# --- Pictures ---------------------------------------------------------------------------------------------------------


def test_pictures_keep_their_names_and_pixels(tmp_path: Path):
    info = info_of(24, 16, "rgb24")
    with open_sink(str(tmp_path / "out"), info, EncodeOptions()) as sink:
        for index, name in enumerate(["b 1.png", "a.bmp", "c.tif", "d.webp"]):
            sink.write(frame_of(index, info, name=name))
    assert sorted(os.listdir(tmp_path / "out")) == ["a.bmp", "b 1.png", "c.tif", "d.webp"]
    for index, name in enumerate(["b 1.png", "a.bmp", "c.tif", "d.webp"]):
        stored = cv2.imread(str(tmp_path / "out" / name))[:, :, ::-1]
        np.testing.assert_array_equal(stored, planes_of(index, 24, 16, "rgb24")[0])


def test_frames_of_a_video_are_numbered(tmp_path: Path):
    write(tmp_path / "out", info_of(), EncodeOptions())
    assert sorted(os.listdir(tmp_path / "out")) == [f"{n:06d}.png" for n in range(1, 6)]


@pytest.mark.parametrize(("colorspace", "color_range"), [(1, 1), (1, 2), (6, 1), (9, 2)])
def test_yuv_becomes_rgb_by_its_tags(tmp_path: Path, colorspace: int, color_range: int):
    kr, kb = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}[colorspace]
    rgb = np.array([200, 30, 60])
    luma = (kr * rgb[0] + (1 - kr - kb) * rgb[1] + kb * rgb[2]) / 255
    blue, red = (rgb[2] / 255 - luma) / (2 - 2 * kb), (rgb[0] / 255 - luma) / (2 - 2 * kr)
    scale, chroma, black = (255, 255, 0) if color_range == 2 else (219, 224, 16)
    values = [round(black + scale * luma), round(128 + chroma * blue), round(128 + chroma * red)]
    info = info_of(32, 16, colorspace=colorspace, color_range=color_range)
    pixels = np.concatenate([np.full(n, v, np.uint8) for n, v in zip((512, 128, 128), values, strict=True)])
    with open_sink(str(tmp_path / "out"), info, EncodeOptions()) as sink:
        sink.write(Frame(frame_of(0, info).header, pixels))
    stored = cv2.imread(str(tmp_path / "out" / "000001.png"))[:, :, ::-1]
    assert abs(stored.reshape(-1, 3).mean(0) - rgb).max() <= 2.5


def test_pictures_of_a_rotated_video_stand_upright(tmp_path: Path):
    info = info_of(32, 16, rotation=90)
    frame = frame_of(0, info)
    frame.pixels[:512].reshape(16, 32)[:, 24:] = 235  # a bright right edge, which is the top once turned
    frame.pixels[:512].reshape(16, 32)[:, :24] = 16
    frame.pixels[512:] = 128
    with open_sink(str(tmp_path / "out"), info, EncodeOptions()) as sink:
        sink.write(frame)
    stored = cv2.imread(str(tmp_path / "out" / "000001.png"))
    assert stored.shape == (32, 16, 3)
    assert stored[:8].min() > 200
    assert stored[8:].max() < 60


def test_overwriting_a_folder_spares_what_is_not_replaced(tmp_path: Path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    (folder / "000001.png").write_text("old")
    with pytest.raises(DerainError, match="exists already"):
        open_sink(str(folder), info_of(), EncodeOptions())
    write(folder, info_of(), EncodeOptions(overwrite=True))
    assert (folder / "mine.txt").read_text() == "keep"
    assert cv2.imread(str(folder / "000001.png")) is not None
    assert hidden(tmp_path) == []


def test_pictures_go_into_a_folder_that_came_while_they_were_written(tmp_path: Path):
    info = info_of()
    sink = open_sink(str(tmp_path / "out"), info, EncodeOptions())
    sink.write(frame_of(0, info))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    sink.close()
    assert sorted(os.listdir(tmp_path / "out")) == ["000001.png", "mine.txt"]


def test_an_empty_folder_is_filled_without_overwrite(tmp_path: Path):
    (tmp_path / "out").mkdir()
    write(tmp_path / "out", info_of(), EncodeOptions())
    assert len(os.listdir(tmp_path / "out")) == 5


def test_one_picture(tmp_path: Path):
    info = info_of(24, 16, "rgb24", frames=1)
    with open_sink(str(tmp_path / "dry.png"), info, EncodeOptions()) as sink:
        sink.write(frame_of(0, info, name="rainy.png"))
    assert os.listdir(tmp_path) == ["dry.png"]
    with pytest.raises(UsageError, match="is one picture, the source has 5 frames"):
        open_sink(str(tmp_path / "b.png"), info_of(frames=5), EncodeOptions())


def test_a_file_in_the_way_of_a_folder(tmp_path: Path):
    (tmp_path / "out").touch()
    with pytest.raises(DerainError, match="is a file, not a folder"):
        open_sink(str(tmp_path / "out"), info_of(), EncodeOptions(overwrite=True))


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
