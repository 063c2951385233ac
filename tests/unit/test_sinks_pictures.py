"""Folders of pictures, and single ones, as sinks."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import DerainError, UsageError
from pipeline.frame import Frame
from pipeline.sinks import EncodeOptions, open_sink
from tests.clips import planes_of
from tests.sinking import frame_of, hidden, info_of, write


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
