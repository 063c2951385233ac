"""Clips are read as 8-bit 4:2:0 in the range and matrix they have, whatever they were stored as."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from training.clip_writer import ClipWriter, to_frame
from training.clips import ClipInfo, ClipReader
from training.errors import TrainingError
from training.levels import normalise, quantise
from training.packed_clips import packed_clip


def raw(path: Path, pixel_format: str, planes: list[np.ndarray], color_range: int, colorspace: int = 1) -> Path:
    """One frame of the given planes, losslessly (FFV1)."""
    height, width = planes[0].shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.color_range, stream.codec_context.colorspace = color_range, colorspace
        frame = av.VideoFrame(width, height, pixel_format)
        for plane, pixels in zip(frame.planes, planes, strict=True):
            rows = np.frombuffer(memoryview(plane), pixels.dtype).reshape(plane.height, -1)
            rows[:, : pixels.shape[1]] = pixels
        frame.color_range, frame.colorspace = color_range, colorspace
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def ramp(height: int, width: int, top: int, dtype: type) -> np.ndarray:
    return np.linspace(0, top, height * width).reshape(height, width).astype(dtype)


def only(path: Path):
    with ClipReader(path) as reader:
        (frame,) = reader
        return reader.info, frame


@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("name", ["yuv420p10le", "yuv422p", "yuv444p", "yuv420p"])
def test_samples_keep_their_level_in_either_range(tmp_path, name, color_range):
    depth, dtype = (4, np.uint16) if name.endswith("10le") else (1, np.uint8)
    rows, columns = {"yuv422p": (32, 24), "yuv444p": (32, 48)}.get(name, (16, 24))
    chroma = np.full((rows, columns), 100 * depth, dtype)
    y = ramp(32, 48, 255 * depth, dtype)
    info, frame = only(raw(tmp_path / "a.mkv", name, [y, chroma, chroma], color_range))
    assert (info.full_range, info.color_range, info.colorspace) == (color_range == 2, color_range, 1)
    error = np.abs(frame.planes[0].astype(float) - y / depth)
    assert error.max() <= (2 if depth > 1 else 0)  # FFmpeg dithers what it takes from 10 bit to 8
    assert error.mean() < 0.6
    assert [p.shape for p in frame.planes] == [(32, 48), (16, 24), (16, 24)]
    assert np.abs(frame.planes[1].astype(float) - 100).max() <= 1


def test_a_grey_picture_has_full_range_and_no_colour(tmp_path):
    grey = ramp(20, 30, 255, np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), grey)
    info, frame = only(tmp_path / "a.png")
    assert info.full_range
    assert np.array_equal(frame.planes[0], grey)
    assert frame.planes[1].shape == (10, 15)
    assert (frame.planes[1] == 128).all()
    assert np.abs(frame.rgb().astype(int) - grey[..., None]).max() <= 1


def test_a_colour_picture_becomes_bt601_of_limited_range(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((20, 30, 3), (0, 0, 255), np.uint8))
    info, frame = only(tmp_path / "a.png")
    assert (info.full_range, info.colorspace) == (False, 6)
    assert [int(np.median(p)) for p in frame.planes] == pytest.approx([81, 90, 240], abs=1)
    assert (frame.rgb() == (255, 0, 0)).all()


def test_planes_go_to_rgb_as_the_decoded_frame_does(tmp_path):
    chroma = ramp(16, 24, 255, np.uint8)
    info, frame = only(
        raw(tmp_path / "a.mkv", "yuv420p", [ramp(32, 48, 255, np.uint8), chroma, chroma.T.reshape(16, 24)], 2)
    )
    assert np.array_equal(to_frame(frame.planes, info).to_ndarray(format="rgb24"), frame.rgb())


@pytest.mark.parametrize("full_range", [False, True])
def test_normalised_planes_come_back_unchanged(full_range):
    y = np.arange(256, dtype=np.uint8).reshape(16, 16)
    planes = (y, y[:8, :8], y[8:, 8:])
    levels = normalise(planes, full_range)
    assert levels[0].dtype == np.float32
    black, white = (0, 255) if full_range else (16, 235)
    assert levels[0].ravel()[[black, white]] == pytest.approx([0, 1])
    assert all(np.array_equal(a, b) for a, b in zip(quantise(levels, full_range), planes, strict=True))


def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path):
    (tmp_path / "out.mkv").write_text("old")
    info = ClipInfo(16, 16, Fraction(1, 25), Fraction(25), False)
    plane = np.zeros((16, 16), np.uint8)
    writer = ClipWriter(tmp_path / "out.mkv", info, codec="ffv1")
    with contextlib.suppress(KeyboardInterrupt), writer:
        writer.write((plane, plane[:8, :8], plane[:8, :8]), 0)
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["out.mkv"]
    assert (tmp_path / "out.mkv").read_text() == "old"


def test_a_clip_cannot_be_written_as_just_anything(tmp_path):
    with pytest.raises(TrainingError, match=r"out\.gif: a clip is written as one of"):
        ClipWriter(tmp_path / "out.gif", ClipInfo(16, 16, Fraction(1, 25), Fraction(25), False))


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_what_a_telephone_stores_lying_is_seen_upright(tmp_path, rotation):
    """Evaluation, inspection and training saw such clips on their side, where rain falls across the picture."""
    upright = [ramp(64, 32, 250, np.uint8), ramp(32, 16, 200, np.uint8), ramp(32, 16, 90, np.uint8)]
    lying = [np.ascontiguousarray(np.rot90(plane, -rotation // 90)) for plane in upright]
    height, width = lying[0].shape
    info = ClipInfo(width, height, Fraction(1, 25), Fraction(25), False, 1, 1, 1, 1, Fraction(4, 3), rotation)
    with ClipWriter(tmp_path / "a.mkv", info, codec="ffv1") as writer:
        for index in range(2):
            writer.write((lying[0], lying[1], lying[2]), index)
    with ClipReader(tmp_path / "a.mkv", upright=True) as reader:
        frames = list(reader)
        assert (reader.info.width, reader.info.height, reader.info.rotation) == (32, 64, 0)
    for plane, expected in zip(frames[1].planes, upright, strict=True):
        assert np.array_equal(plane, expected)
    assert frames[1].rgb().shape == (64, 32, 3)
    packed = packed_clip(tmp_path / "a.mkv", tmp_path / "cache", 360)
    assert packed.shape == (2, 6, 32, 16)
    assert np.abs(packed[1, 0].astype(int) - upright[0][::2, ::2]).max() <= 1
