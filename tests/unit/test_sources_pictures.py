"""Folders of pictures as sources."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import DerainError
from pipeline.sources import open_source
from tests.clips import planes_of
from tests.picture_folders import write_pictures


def test_pictures_come_in_the_order_people_count(tmp_path: Path):
    names = ["10.png", "9.png", "a2.png", "a11.png", "B3.PNG", "1.png"]
    write_pictures(tmp_path / "p", names)
    (tmp_path / "p" / ".hidden.png").write_bytes(b"no picture")
    (tmp_path / "p" / "readme.txt").write_text("no picture")
    with open_source(str(tmp_path / "p")) as source:
        assert source.info.frames == 6
        frames = list(source)
    assert [f.header.name for f in frames] == ["1.png", "9.png", "10.png", "a2.png", "a11.png", "B3.PNG"]
    assert [f.header.pts for f in frames] == list(range(6))
    assert source.info.time_base == (1, 25)


@pytest.mark.parametrize("ending", ["png", "bmp", "tif"])
def test_pixels_of_pictures_come_bit_for_bit(tmp_path: Path, ending: str):
    write_pictures(tmp_path / "p", [f"1.{ending}"])
    with open_source(str(tmp_path / "p")) as source:
        (frame,) = source
    np.testing.assert_array_equal(frame.planes()[0], planes_of(0, 24, 16, "rgb24")[0])


def test_each_picture_has_its_own_size_and_colours(tmp_path: Path):
    folder = write_pictures(tmp_path / "p", ["1.png"])
    cv2.imwrite(str(folder / "2.png"), np.full((7, 5), 99, np.uint8))
    with open_source(str(folder)) as source:
        headers = [frame.header for frame in source]
    assert [(h.width, h.height, h.pixel_format) for h in headers] == [(24, 16, "rgb24"), (5, 7, "gray")]


def test_deep_and_transparent_pictures_are_reduced_and_told(tmp_path: Path):
    folder = write_pictures(tmp_path / "p", [])
    cv2.imwrite(str(folder / "1.png"), np.full((4, 4, 3), 0xAB00, np.uint16))
    cv2.imwrite(str(folder / "2.png"), np.full((4, 4, 4), 77, np.uint8))
    with open_source(str(folder)) as source:
        deep, clear = source
    assert (deep.pixels == round(0xAB00 / 257)).all()
    assert (clear.pixels == 77).all()
    assert len(source.warnings) == 2


def test_an_unreadable_picture_is_named(tmp_path: Path):
    folder = write_pictures(tmp_path / "p", ["1.png", "2.png", "3.png"])
    (folder / "2.png").write_bytes(b"this is no picture")
    with open_source(str(folder)) as source, pytest.raises(DerainError, match=r"p/2\.png: is not a picture"):
        list(source)


@pytest.mark.parametrize(("name", "says"), [("a.png", "name it .apng"), ("a.webp", "make a video of it")])
def test_an_animation_is_no_picture(tmp_path: Path, name: str, says: str):
    """All but its first picture were lost without a word."""
    moving = cv2.Animation()
    moving.frames = [np.full((16, 24, 3), value, np.uint8) for value in (30, 90, 150)]
    moving.durations = np.array([40, 40, 40])
    assert cv2.imwriteanimation(str(tmp_path / name), moving)
    with pytest.raises(DerainError, match=rf"{name}: is an animation of 3 pictures; {says}"):
        open_source(str(tmp_path / name))
    cv2.imwrite(str(tmp_path / name), moving.frames[0])
    open_source(str(tmp_path / name)).close()


def test_pages_that_are_not_taken_are_told(tmp_path: Path):
    """A preview, which cameras put beside the picture, is none."""
    from tifffile import TiffWriter

    with TiffWriter(tmp_path / "two.tif") as writer:
        for kind in (0, 0, 1):
            writer.write(np.full((16, 24, 3), 90, np.uint8), photometric="rgb", subfiletype=kind)
    with open_source(str(tmp_path / "two.tif")) as source:
        assert len(list(source)) == 1
        assert source.warnings == [f"{tmp_path / 'two.tif'}: has 2 pages; only the first is taken"], "once"


def test_a_folder_without_pictures(tmp_path: Path):
    with pytest.raises(DerainError, match="holds no pictures"):
        open_source(str(tmp_path))
