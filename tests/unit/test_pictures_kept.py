"""Pictures through source and sink: depth, transparency, EXIF, ICC. Pillow, tifffile, FFmpeg read what is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from pipeline.errors import DerainError, UsageError
from pipeline.frame import Frame
from pipeline.sinks import EncodeOptions, Sink, open_sink
from pipeline.sources import open_source

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ORIENTATION, MAKER, DESCRIPTION = 0x0112, 0x010F, 0x010E


def picture(dtype: str = "uint8", channels: int = 3) -> NDArray[Any]:
    rng = np.random.default_rng(1)
    made = rng.integers(0, np.iinfo(dtype).max, (20, 30, channels), dtype=dtype)
    return made[:, :, 0] if channels == 1 else made


def exif(**tags: Any) -> bytes:
    held = Image.Exif()
    held.update({ORIENTATION: tags.get("orientation", 1), MAKER: "A camera", DESCRIPTION: "Rain"})
    return held.tobytes()


def through(source: Path, destination: Path) -> tuple[list[Frame], Sink]:
    with open_source(str(source), native=True) as opened:
        frames = list(opened)
        with open_sink(str(destination), opened.info, EncodeOptions(), str(source)) as sink:
            for frame in frames:
                sink.write(frame)
    return frames, sink


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
def test_exif_and_the_colour_profile_are_kept(tmp_path: Path, ending: str) -> None:
    Image.fromarray(picture()).save(tmp_path / f"in{ending}", exif=exif(), icc_profile=ICC)
    _, sink = through(tmp_path / f"in{ending}", tmp_path / f"out{ending}")
    with Image.open(tmp_path / f"out{ending}") as after:
        assert after.info["icc_profile"] == ICC
        assert dict(after.getexif()) == {ORIENTATION: 1, MAKER: "A camera", DESCRIPTION: "Rain"}
    assert sink.warnings == []


def test_they_are_kept_from_one_kind_to_another(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "in.jpg", exif=exif(), icc_profile=ICC)
    through(tmp_path / "in.jpg", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as after:
        assert (after.info["icc_profile"], after.getexif()[MAKER]) == (ICC, "A camera")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright_and_says_that_it_is(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    Image.fromarray(picture()).save(tmp_path / "in.png", exif=exif(orientation=orientation))
    with Image.open(tmp_path / "in.png") as before:
        expected = np.asarray(ImageOps.exif_transpose(before))
    through(tmp_path / "in.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as after:
        assert after.getexif()[ORIENTATION] == 1
        np.testing.assert_array_equal(np.asarray(after), expected)


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_depth_and_transparency_are_kept(tmp_path: Path, ending: str, channels: int, dtype: str) -> None:
    stored = picture(dtype, channels)
    alpha = ["unassalpha"] if channels == 4 else None
    kind = "minisblack" if channels == 1 else "rgb"
    tifffile.imwrite(tmp_path / "in.tif", stored, photometric=kind, extrasamples=alpha)
    frames, sink = through(tmp_path / "in.tif", tmp_path / f"out{ending}")
    names = {(1, 1): "gray", (3, 1): "rgb24", (4, 1): "rgba", (1, 2): "gray16le", (3, 2): "rgb48le", (4, 2): "rgba64le"}
    assert frames[0].header.pixel_format == names[channels, stored.itemsize]
    with av.open(str(tmp_path / f"out{ending}")) as held:
        written = next(held.decode(video=0)).to_ndarray()
    np.testing.assert_array_equal(written, stored)
    assert sink.warnings == []


def test_a_tiff_keeps_its_colour_profile(tmp_path: Path) -> None:
    stored = picture("uint16")
    tifffile.imwrite(tmp_path / "in.tif", stored, photometric="rgb", iccprofile=ICC)
    through(tmp_path / "in.tif", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as after:
        assert after.pages.first.iccprofile == ICC
        np.testing.assert_array_equal(after.asarray(), stored)


def test_what_an_ending_cannot_hold_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        tifffile.imwrite(tmp_path / "in" / f"{number}.tif", picture("uint16", 4), photometric="rgb")
        (tmp_path / "in" / f"{number}.tif").rename(tmp_path / "in" / f"{number}.jpg")  # the ending names what is made
    _, sink = through(tmp_path / "in", tmp_path / "out")
    assert len(sink.warnings) == 2
    assert "16 bits a sample become 8, which is all that .jpg holds" in sink.warnings[0]
    assert "transparency is dropped: .jpg has none" in sink.warnings[1]


def test_deep_video_becomes_deep_pictures(tmp_path: Path) -> None:
    from tests.deep_clips import make_deep_clip

    path = make_deep_clip(tmp_path / "in.mkv", "yuv444p10le", frames=1, values=(700, 512, 512))
    through(path, tmp_path / "out")
    (made,) = (tmp_path / "out").iterdir()
    frames, _ = through(made, tmp_path / "back.png")
    assert frames[0].header.pixel_format == "rgb48le"
    assert abs(frames[0].planes()[0].astype(int) - round((700 - 64) / 876 * 65535)).max() <= 64  # a step of 10 bit


@pytest.mark.parametrize(
    ("names", "photographs", "stills"),
    [
        (["a1.png", "a2.png", "a3.png"], False, False),
        (["008.png", "009.png", "010.png"], False, False),
        (["a1.png", "a3.png"], False, True),
        (["a1.png", "b2.png"], False, True),
        (["rain.png", "sun.png"], False, True),
        (["IMG_1.jpg", "IMG_2.jpg"], True, True),
        (["only1.png"], False, True),
    ],
)
def test_numbered_pictures_are_a_film_and_all_others_stand_alone(
    tmp_path: Path, names: list[str], photographs: bool, stills: bool
) -> None:
    for name in names:
        Image.fromarray(picture()).save(tmp_path / name, **({"exif": exif()} if photographs else {}))
    with open_source(str(tmp_path)) as opened:
        assert opened.info.stills is stills


def test_exr_needs_an_opencv_that_has_it(tmp_path: Path) -> None:
    if "OpenEXR:                     NO" not in cv2.getBuildInformation():
        pytest.skip("this OpenCV has OpenEXR")
    (tmp_path / "a.exr").write_bytes(b"\x76\x2f\x31\x01" + b"\0" * 60)
    with pytest.raises(DerainError, match="this build of OpenCV has no OpenEXR"):
        open_source(str(tmp_path / "a.exr"))
    Image.fromarray(picture()).save(tmp_path / "a.png")
    with open_source(str(tmp_path / "a.png")) as opened, pytest.raises(UsageError, match="cannot write such pictures"):
        open_sink(str(tmp_path / "b.exr"), opened.info, EncodeOptions())  # was an internal error of the encode stage
