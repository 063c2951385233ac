"""Sources: the contract all of them keep, then what is special about files: time, pixels, what is told of them."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.errors import DerainError, UsageError
from pipeline.frame import frame_bytes
from pipeline.sources import Source, open_source
from tests.clips import B_FRAMES, FULL_RANGE_709, filled_frame, make_clip, planes_of
from tests.facts import facts
from tests.picture_folders import write_pictures

# --- The contract -----------------------------------------------------------------------------------------------------


MAKERS = {
    "mp4": lambda folder: make_clip(folder / "a.mp4", options=B_FRAMES),
    "irregular": lambda folder: make_clip(folder / "a.mkv", pts=[500, 540, 700, 710], time_base=Fraction(1, 1000)),
    "odd-size": lambda folder: make_clip(folder / "a.mkv", codec="ffv1", width=33, height=21),
    "grey": lambda folder: make_clip(folder / "a.mkv", codec="ffv1", pixel_format="gray"),
    "4:2:2": lambda folder: make_clip(folder / "a.mkv", codec="ffv1", pixel_format="yuv422p"),
    "pictures": lambda folder: write_pictures(folder / "p", ["1.png", "2.bmp", "10.webp"]),
    "one-picture": lambda folder: write_pictures(folder / "p", ["only.png"]) / "only.png",
}


@pytest.fixture(params=MAKERS, scope="module")
def source_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(MAKERS[request.param](tmp_path_factory.mktemp("source")))


@pytest.fixture
def source(source_path: str):
    with open_source(source_path) as opened:
        yield opened


def test_knows_its_stream_before_the_first_frame(source: Source):
    info = source.info
    assert info.width > 0
    assert info.pixel_format in ("yuv420p", "gray", "rgb24")
    assert info.time_base[1] > 0
    assert info.source_codec


def test_frames_are_numbered_and_as_large_as_their_header_says(source: Source):
    frames = list(source)
    assert [frame.header.index for frame in frames] == list(range(len(frames)))
    for frame in frames:
        header = frame.header
        assert frame.pixels.dtype == np.uint8
        assert frame.pixels.shape == (frame_bytes(header.pixel_format, header.width, header.height),)
        assert frame.pixels.flags.c_contiguous
        assert header.pixel_format == source.info.pixel_format


def test_time_rises(source: Source):
    pts = [frame.header.pts for frame in source]
    assert pts == sorted(set(pts))
    assert source.repeated_pts == 0
    assert source.damaged == 0


def test_frames_do_not_share_their_pixels(source: Source):
    frames = list(source)
    frames[0].pixels[:] = 7
    assert all((frame.pixels != 7).any() for frame in frames[1:])


def test_may_be_closed_in_the_middle_and_twice(source_path: str):
    source = open_source(source_path)
    next(iter(source))
    source.close()
    source.close()


def test_a_missing_path_is_one_clear_line(tmp_path: Path):
    with pytest.raises(DerainError, match=r"nothing\.mp4: no such file") as caught:
        open_source(str(tmp_path / "nothing.mp4"))
    assert "\n" not in str(caught.value)


def test_a_network_address_is_wrong_usage():
    with pytest.raises(UsageError, match="network address"):
        open_source("rtsp://camera/stream")


# --- Files: time ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, B_FRAMES], ids=["in order", "B-frames"])
@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_pts_are_those_that_were_written(tmp_path: Path, ending: str, options: dict[str, str]):
    written = [100, 140, 260, 270, 300, 400, 1500]
    path = make_clip(tmp_path / f"a{ending}", pts=written, time_base=Fraction(1, 1000), options=options)
    with open_source(str(path)) as source:
        base = Fraction(*source.info.time_base)
        assert [frame.header.pts * base for frame in source] == [Fraction(pts, 1000) for pts in written]


def test_a_transport_stream_keeps_its_start(tmp_path: Path):
    written = [90_000 + 3003 * n for n in range(5)]
    path = make_clip(tmp_path / "a.ts", pts=written, time_base=Fraction(1, 90_000), muxer={"mpegts_copyts": "1"})
    with open_source(str(path)) as source:
        assert source.info.time_base == (1, 90_000)
        assert [frame.header.pts for frame in source] == written


def test_the_last_frame_of_an_mp4_ends_with_the_stream(tmp_path: Path):
    """MP4 tells how long until the next frame is decoded, which for the last frame says nothing about its duration."""
    path = make_clip(
        tmp_path / "a.mp4", pts=[0, 120, 160, 280, 290, 330, 450], time_base=Fraction(1, 1000), options=B_FRAMES
    )
    with av.open(str(path)) as held:
        end = held.streams.video[0].start_time + held.streams.video[0].duration
    with open_source(str(path)) as source:
        last = list(source)[-1].header
    assert last.pts + last.duration == end


def test_frames_of_a_raw_stream_get_times(tmp_path: Path):
    path = make_clip(tmp_path / "a.h264", rate=20, options=B_FRAMES)
    with open_source(str(path)) as source:
        base = Fraction(*source.info.time_base)
        times = [frame.header.pts * base for frame in source]
    assert [after - before for before, after in itertools.pairwise(times)] == [Fraction(1, 20)] * 9


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts", ".nut"])
def test_expects_as_many_frames_as_come(tmp_path: Path, ending: str):
    with open_source(str(make_clip(tmp_path / f"a{ending}", frames=23, rate=Fraction(24000, 1001)))) as source:
        assert abs((source.info.frames or 0) - len(list(source))) <= (0 if ending == ".mp4" else 1)


# --- Files: pixels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 48), (33, 21), (50, 2), (1, 1)])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "gray"])
def test_native_planes_come_bit_for_bit(tmp_path: Path, size: tuple[int, int], pixel_format: str):
    path = make_clip(
        tmp_path / "a.mkv", codec="ffv1", frames=2, width=size[0], height=size[1], pixel_format=pixel_format
    )
    with open_source(str(path)) as source:
        assert source.warnings == []
        for index, frame in enumerate(source):
            for plane, expected in zip(frame.planes(), planes_of(index, *size, pixel_format), strict=True):
                np.testing.assert_array_equal(plane, expected)


def flat_clip(path: Path, pixel_format: str, values: tuple[int, ...], full_range: bool) -> Path:
    """Two lossless frames of one colour; values are 8 bit and scaled up for deeper formats."""
    out = av.open(str(path), "w")
    stream = out.add_stream("ffv1", rate=25, width=32, height=16)
    stream.pix_fmt = pixel_format
    stream.codec_context.color_range = 2 if full_range else 1
    for pts in range(2):
        frame = av.VideoFrame(32, 16, pixel_format)
        for plane, value in zip(frame.planes, values, strict=True):
            if "10le" in pixel_format:
                np.frombuffer(memoryview(plane), np.uint16)[:] = value * 4
            else:
                np.frombuffer(memoryview(plane), np.uint8)[:] = value
        frame.pts = pts
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
    out.close()
    return path


@pytest.mark.parametrize("full_range", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("pixel_format", ["yuv422p", "yuv444p", "yuv422p10le", "yuv420p10le", "yuv411p"])
def test_other_formats_are_reduced_without_a_colour_shift(tmp_path: Path, pixel_format: str, full_range: bool):
    path = flat_clip(tmp_path / "a.mkv", pixel_format, (200, 90, 170), full_range)
    with open_source(str(path)) as source:
        assert source.info.source_pixel_format.replace("yuvj", "yuv") == pixel_format
        assert source.info.pixel_format == "yuv420p"
        assert source.info.color_range == (2 if full_range else 1)
        assert len(source.warnings) == 1
        assert pixel_format in source.warnings[0].replace("yuvj", "yuv")
        planes = next(iter(source)).planes()
    for plane, value in zip(planes, (200, 90, 170), strict=True):
        assert abs(plane.astype(int) - value).max() <= 1


def test_rgb_becomes_limited_range_bt709_and_is_tagged_so(tmp_path: Path):
    out = av.open(str(tmp_path / "a.mkv"), "w")
    stream = out.add_stream("ffv1", rate=25, width=32, height=16)
    stream.pix_fmt = "bgr0"
    rgb = np.full((16, 32, 3), (200, 30, 60), np.uint8)
    frame = filled_frame([rgb], "rgb24")
    frame.pts = 0
    out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
    out.close()
    with open_source(str(tmp_path / "a.mkv")) as source:
        assert (source.info.color_range, source.info.colorspace) == (1, 1)
        planes = next(iter(source)).planes()
    red, green, blue = 200 / 255, 30 / 255, 60 / 255
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    expected = (16 + 219 * luma, 128 + 224 * (blue - luma) / 1.8556, 128 + 224 * (red - luma) / 1.5748)
    assert [float(plane.mean()) for plane in planes] == pytest.approx(expected, abs=0.6)


# --- Files: what is told of the stream --------------------------------------------------------------------------------


def test_tags_of_the_stream(tmp_path: Path):
    path = make_clip(
        tmp_path / "a.mp4",
        rate=Fraction(30000, 1001),
        time_base=Fraction(1, 30000),
        pts=[0, 1001, 2002],
        tags=FULL_RANGE_709,
        sample_aspect_ratio=Fraction(4, 3),
        rotation=90,
        options={"chroma_sample_location": "topleft"},
    )
    with open_source(str(path)) as source:
        info = source.info
    assert (info.width, info.height, info.frames) == (64, 48, 3)
    assert info.average_rate == (30000, 1001)
    assert info.time_base == (1, 30000)
    assert info.sample_aspect_ratio == (4, 3)
    assert info.rotation == 90
    assert info.display_matrix == facts(path).display_matrix
    assert (info.color_range, info.color_primaries, info.color_trc, info.colorspace) == (2, 1, 1, 1)
    assert info.chroma_location == 3
    assert (info.source_codec, info.pixel_format) == ("h264", "yuv420p")
    assert info.duration == pytest.approx(3 * 1001 / 30000)


def test_a_flipped_picture_keeps_its_whole_display_matrix(tmp_path: Path):
    mirrored = (-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    out = av.open(str(tmp_path / "a.mp4"), "w")
    stream = out.add_stream("libx264", rate=25, width=32, height=32)
    stream.set_display_matrix(mirrored)
    frame = filled_frame(planes_of(0, 32, 32), "yuv420p")
    frame.pts = 0
    out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
    out.close()
    with open_source(str(tmp_path / "a.mp4")) as source:
        assert source.info.display_matrix == mirrored


def test_cover_art_is_not_the_video(tmp_path: Path):
    path = make_clip(tmp_path / "a.mp4", cover=True, frames=4, width=8, height=8)  # smaller than the cover
    with open_source(str(path)) as source:
        assert (source.info.width, source.info.source_codec) == (8, "h264")
        assert len(list(source)) == 4
