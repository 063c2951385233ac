"""Depth, chroma, RGB, alpha, HDR and fields, from file to file; what comes out is read by PyAV alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.restore import Restorer
from pipeline.restore_options import RestoreOptions
from pipeline.sinks import EncodeOptions, open_sink
from pipeline.sources import open_source
from tests.clips import make_clip, planes_of
from tests.deep_clips import deep_planes, make_deep_clip
from tests.interlaced_clips import interlaced_clip

HDR10 = {"color_range": 1, "color_primaries": 9, "color_trc": 16, "colorspace": 9}
HLG = HDR10 | {"color_trc": 18}
MASTERING = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"


def through(source: Path, destination: Path, *, deinterlace: bool = False, **options: Any) -> list[str]:
    """As the stages do it, with a network that removes nothing. Returns what is told."""
    with open_source(str(source), native=True, deinterlace=deinterlace) as opened:
        restorer = Restorer(opened.info, RestoreOptions())
        with open_sink(str(destination), opened.info, EncodeOptions(**options), str(source)) as sink:
            for frame in opened:
                views = restorer.views(frame)
                sink.write(restorer.restored(frame, views, [view.planes() for view in views]))
        assert opened.damaged == 0
    return opened.warnings + sink.warnings


def frames_of(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as held:
        return list(held.decode(video=0))


def samples(frame: av.VideoFrame) -> list[NDArray[Any]]:
    size = 1 if frame.format.components[0].bits == 8 else 2
    rows = [np.frombuffer(memoryview(p), np.uint8).reshape(-1, p.line_size) for p in frame.planes]
    cut = [row[: p.height, : p.width * size].copy() for row, p in zip(rows, frame.planes, strict=True)]
    return [plane.view("<u2") if size == 2 else plane for plane in cut]


# --- Depth, chroma, RGB, alpha ----------------------------------------------------------------------------------------

FORMATS = [
    *("yuv420p10le", "yuv422p", "yuv422p10le", "yuv444p", "yuv444p12le", "yuv420p16le"),
    *("gray10le", "gray16le", "gbrp10le", "gbrp16le", "yuva420p", "yuva444p10le", "gbrap12le"),
]


@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
@pytest.mark.parametrize("form", FORMATS)
def test_every_sample_is_kept_where_the_codec_is_lossless(tmp_path: Path, form: str, size: tuple[int, int]) -> None:
    source = make_deep_clip(tmp_path / "in.mkv", form, width=size[0], height=size[1])
    assert through(source, tmp_path / "out.mkv", codec="ffv1") == []
    written = frames_of(tmp_path / "out.mkv")
    assert len(written) == 3
    for index, frame in enumerate(written):
        assert frame.format.name == form
        for plane, expected in zip(samples(frame), deep_planes(form, index, *size), strict=True):
            np.testing.assert_array_equal(plane, expected)


@pytest.mark.parametrize(
    ("form", "codec", "name", "made", "told"),
    [
        ("yuv420p10le", "libx264", "o.mkv", "yuv420p10le", ""),
        ("yuv422p", "libx264", "o.mp4", "yuv422p", ""),
        ("yuv444p12le", "libx264", "o.mkv", "yuv444p10le", "12 bit become 10"),
        ("yuv444p12le", "libx265", "o.mkv", "yuv444p12le", ""),
        ("gray12le", "libx265", "o.mkv", "gray12le", ""),
        ("gbrp10le", "libx265", "o.mkv", "gbrp10le", ""),
        ("gbrp10le", "libx264", "o.mkv", "yuv444p10le", "RGB becomes YUV 4:4:4"),
        ("yuv422p10le", "libsvtav1", "o.mkv", "yuv420p10le", "chroma becomes 4:2:0"),
        ("yuv422p10le", "prores", "o.mov", "yuv422p10le", ""),
        ("yuv420p10le", "prores", "o.mov", "yuv422p10le", ""),
        ("yuva444p10le", "prores", "o.mov", "yuva444p12le", ""),  # so FFmpeg's decoder gives ProRes 4444
        ("yuva444p10le", "libx265", "o.mkv", "yuv444p10le", "transparency is dropped"),
        ("gbrap12le", "ffv1", "o.mkv", "gbrap12le", ""),
    ],
)
def test_a_codec_is_given_what_loses_least(
    tmp_path: Path, form: str, codec: str, name: str, made: str, told: str
) -> None:
    source = make_deep_clip(tmp_path / "in.mkv", form, width=96, height=64)
    warnings = [w for w in through(source, tmp_path / name, codec=codec) if "coarser clock" not in w]
    (first, *_) = frames_of(tmp_path / name)
    assert first.format.name == made
    assert (first.width, first.height) == (96, 64)
    assert [told in warning for warning in warnings] == ([True] if told else [])
    if not told:
        deep = samples(first)[0].astype(float) / ((1 << first.format.components[0].bits) - 1)
        before = deep_planes(form, 0, 96, 64)[0].astype(float)
        before /= (1 << max(c.bits for c in av.VideoFormat(form).components)) - 1
        assert abs(deep - before).mean() < 0.01


def test_a_pixel_format_that_is_asked_for(tmp_path: Path) -> None:
    source = make_deep_clip(tmp_path / "in.mkv", "yuv422p10le")
    warnings = through(source, tmp_path / "out.mp4", pixel_format="yuv420p")
    assert frames_of(tmp_path / "out.mp4")[0].format.name == "yuv420p"
    assert any("10 bit become 8, chroma becomes 4:2:0" in warning for warning in warnings)


def test_full_range_becomes_limited_where_a_codec_cannot_say_it(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", codec="ffv1", tags={"color_range": 2}, width=96, height=64, frames=2)
    warnings = through(source, tmp_path / "out.mov", codec="prores")
    assert any("full range becomes limited" in warning for warning in warnings)
    luma = samples(frames_of(tmp_path / "out.mov")[0])[0].astype(float)
    expected = 64 + planes_of(0, 96, 64)[0].astype(float) * 876 / 255
    assert abs(luma - expected).mean() < 8


# --- HDR --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["libx265", "libx264", "libsvtav1"])
def test_hdr10_keeps_its_curve_its_primaries_and_its_metadata(tmp_path: Path, codec: str) -> None:
    options = {"preset": "ultrafast", "x265-params": f"log-level=none:{MASTERING}"}
    source = make_deep_clip(tmp_path / "in.mkv", "yuv420p10le", codec="libx265", tags=HDR10, options=options)
    through(source, tmp_path / "out.mkv", codec=codec)
    (frame, *_) = frames_of(tmp_path / "out.mkv")
    assert (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range) == (9, 16, 9, 1)
    assert frame.format.name == "yuv420p10le"
    held = {data.type.name: bytes(data) for data in frame.side_data}  # type: ignore[attr-defined]
    numbers = np.frombuffer(held["MASTERING_DISPLAY_METADATA"], np.int32)
    display = numbers[:20:2] / numbers[1:20:2]
    expected = [0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329, 0.0001, 1000]
    assert display == pytest.approx(expected, rel=1e-3, abs=2e-4)
    assert np.frombuffer(held["CONTENT_LIGHT_LEVEL"], np.uint32)[:2].tolist() == [1000, 400]


def test_hlg_keeps_its_curve_and_metadata_that_are_lost_are_told(tmp_path: Path) -> None:
    source = make_deep_clip(tmp_path / "in.mkv", "yuv420p10le", codec="libx265", tags=HLG)
    assert through(source, tmp_path / "out.mkv", codec="ffv1") == []
    assert frames_of(tmp_path / "out.mkv")[0].color_trc == 18
    options = {"preset": "ultrafast", "x265-params": f"log-level=none:{MASTERING}"}
    make_deep_clip(tmp_path / "in2.mkv", "yuv420p10le", codec="libx265", tags=HDR10, options=options)
    (told,) = through(tmp_path / "in2.mkv", tmp_path / "out2.mkv", codec="ffv1")
    assert "HDR metadata are left out: ffv1 takes none; use libx265" in told


# --- Fields -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top_first", [True, False], ids=["tff", "bff"])
@pytest.mark.parametrize(("codec", "name"), [("libx264", "o.mp4"), ("ffv1", "o.mkv"), ("prores", "o.mov")])
def test_interlaced_video_stays_interlaced(tmp_path: Path, codec: str, name: str, top_first: bool) -> None:
    source = interlaced_clip(tmp_path / "in.mkv", top_first)
    warnings = through(source, tmp_path / name, codec=codec)
    assert not [w for w in warnings if "interlaced" in w]
    assert all(frame.interlaced_frame for frame in frames_of(tmp_path / name))
    with open_source(str(tmp_path / name)) as again:
        assert (again.info.field_order in (2, 4)) == top_first


def test_a_codec_that_cannot_say_interlaced_is_told(tmp_path: Path) -> None:
    source = interlaced_clip(tmp_path / "in.mkv", True)
    warnings = through(source, tmp_path / "out.mkv", codec="libx265")
    assert any("interlaced, which libx265 cannot say: use libx264" in warning for warning in warnings)


def test_deinterlacing_makes_as_many_progressive_frames_with_the_same_times(tmp_path: Path) -> None:
    source = interlaced_clip(tmp_path / "in.mkv", True)
    before = frames_of(source)
    assert through(source, tmp_path / "out.mkv", deinterlace=True) == []
    after = frames_of(tmp_path / "out.mkv")
    assert [frame.pts for frame in after] == [frame.pts for frame in before]
    assert not any(frame.interlaced_frame for frame in after)

    def comb(frame: av.VideoFrame) -> float:
        luma = samples(frame)[0].astype(float)
        return float(abs(luma[1:-1] - (luma[:-2] + luma[2:]) / 2).mean())

    assert comb(after[5]) < comb(before[5]) / 3


# --- The whole command ------------------------------------------------------------------------------------------------


def derain(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", "run", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110)


def test_ten_bits_through_the_network_change_only_where_rain_was_and_inside_the_region(tmp_path: Path) -> None:
    source = make_deep_clip(tmp_path / "in.mkv", "yuv422p10le", frames=4, width=96, height=64)
    mask = np.zeros((64, 96), np.uint8)
    mask[:, 48:] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    done = derain(
        *(source, tmp_path / "out.mkv", "--codec", "ffv1", "--model", "stream-nano", "--json"),
        *("--region", tmp_path / "mask.png", "--save-rain", tmp_path / "rain.mkv"),
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["frames_out"], result["warnings"]) == (4, [])
    before, after, rain = (frames_of(tmp_path / name) for name in ("in.mkv", "out.mkv", "rain.mkv"))
    assert after[0].format.name == "yuv422p10le"
    for old, new, layer in zip(before, after, rain, strict=True):
        change = samples(old)[0].astype(int) - samples(new)[0]
        assert (change[:, :48] == 0).all()
        assert (change == 4 * (samples(layer)[0].astype(int) - 128)).all()


def test_a_photograph(tmp_path: Path) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x010F] = "A camera"
    Image.fromarray(planes_of(0, 64, 48, "rgb24")[0]).save(tmp_path / "photo.jpg", exif=exif.tobytes())
    done = derain(tmp_path / "photo.jpg", tmp_path / "dry.png", "--model", "stream-nano", "--json")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "dry.png") as after:
        assert (after.size, after.getexif()[0x010F]) == ((64, 48), "A camera")


def test_a_dry_run_tells_and_writes_nothing(tmp_path: Path) -> None:
    from tests.clips import Sound

    source = make_clip(
        tmp_path / "in.mkv", sound=[Sound(0.5, metadata={"language": "deu"})], attachment=b"a note",
        subtitles=[(0.1, 0.3, "Rain")], chapters=[(0, 200, "One")],
    )  # fmt: skip
    done = derain(source, tmp_path / "out.mp4", "--dry-run", "--model", "identity", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["size"], told["codec_out"], told["pixel_format_out"]) == ([64, 48], "libx264", "yuv420p")
    assert [line.split(":")[0] for line in told["kept"]] == ["audio stream 1", "subtitle stream 2", "1 chapters"]
    assert [line for line in told["dropped"] if "attachment stream 3 is left out" in line]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv"]
    refused = derain(source, tmp_path / "out.webm", "--dry-run", "--model", "identity")
    assert refused.returncode == 2
