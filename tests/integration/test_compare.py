"""`derain compare`: what is left is A, what is right is B, sample for sample; and what does not fit is refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import cli
from pipeline.frame import Frame, FrameHeader, StreamInfo, frame_bytes
from pipeline.sinks import EncodeOptions, open_sink
from pipeline.sources import open_source

WIDTH, HEIGHT, FRAMES = 48, 32, 5
INFO = StreamInfo(width=WIDTH, height=HEIGHT, pixel_format="yuv420p", time_base=(1, 25), average_rate=(25, 1))


def write_clip(path: Path, seed: int, frames: int = FRAMES, info: StreamInfo = INFO) -> Path:
    """A clip of noise, lossless, its first pts 7 and a gap of one frame after its second."""
    rng = np.random.default_rng(seed)
    size = frame_bytes(info.pixel_format, info.width, info.height)
    with open_sink(str(path), info, EncodeOptions(codec="ffv1")) as sink:
        for index in range(frames):
            header = FrameHeader(
                index=index,
                pts=7 + index + (index > 1),
                width=info.width,
                height=info.height,
                pixel_format=info.pixel_format,
            )
            sink.write(Frame(header, rng.integers(16, 236, size, np.uint8)))
    return path


def read(path: Path) -> tuple[StreamInfo, list[Frame]]:
    with open_source(str(path)) as source:
        return source.info, list(source)


def planes(path: Path) -> list[list[NDArray[np.uint8]]]:
    return [frame.planes() for frame in read(path)[1]]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    return str(write_clip(tmp_path / "a.mkv", 1)), str(write_clip(tmp_path / "b.mkv", 2))


def compare(*args: str | Path) -> int:
    return cli.main(["compare", *map(str, args)])


def test_side_by_side_holds_both_unchanged(pair: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    assert compare(*pair, out, "--codec", "ffv1") == 0
    together = planes(out)
    assert len(together) == FRAMES
    for both, left, right in zip(together, planes(Path(pair[0])), planes(Path(pair[1])), strict=True):
        for plane, a, b in zip(both, left, right, strict=True):
            np.testing.assert_array_equal(plane, np.hstack([a, b]))


def test_timestamps_are_those_of_a(pair: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    assert compare(*pair, out, "--codec", "ffv1") == 0
    info, frames = read(out)
    source_info, source = read(Path(pair[0]))
    assert info.time_base == source_info.time_base
    assert [frame.header.pts for frame in frames] == [frame.header.pts for frame in source]


def test_split_shows_the_left_half_of_a_and_the_right_half_of_b(pair: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    assert compare(*pair, out, "--split", "--codec", "ffv1") == 0
    for both, left, right in zip(planes(out), planes(Path(pair[0])), planes(Path(pair[1])), strict=True):
        middle = WIDTH // 2
        np.testing.assert_array_equal(both[0][:, : middle - 1], left[0][:, : middle - 1])
        np.testing.assert_array_equal(both[0][:, middle + 1 :], right[0][:, middle + 1 :])
        assert (both[0][:, middle - 1 : middle + 1] == 235).all()
        np.testing.assert_array_equal(both[1][:, : middle // 2], left[1][:, : middle // 2])
        np.testing.assert_array_equal(both[2][:, middle // 2 + 1 :], right[2][:, middle // 2 + 1 :])


def test_odd_sizes_keep_every_luma_sample(tmp_path: Path) -> None:
    odd = msgspec.structs.replace(INFO, width=33, height=21)
    a, b = write_clip(tmp_path / "a.mkv", 1, info=odd), write_clip(tmp_path / "b.mkv", 2, info=odd)
    assert compare(a, b, tmp_path / "out.mkv", "--codec", "ffv1") == 0
    both, left, right = planes(tmp_path / "out.mkv")[0], planes(a)[0], planes(b)[0]
    np.testing.assert_array_equal(both[0][:, :33], left[0])
    np.testing.assert_array_equal(both[0][:, 34:], right[0])
    np.testing.assert_array_equal(both[1], np.hstack([left[1], right[1]]))


def test_labels_are_written_into_their_corners_and_nowhere_else(pair: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    assert compare(*pair, out, "--labels", "A,B", "--codec", "ffv1") == 0
    both, left, right = planes(out)[0], planes(Path(pair[0]))[0], planes(Path(pair[1]))[0]
    changed = both[0] != np.hstack([left[0], right[0]])
    rows, columns = np.nonzero(changed)
    assert rows.max() < HEIGHT * 0.75
    for start in (0, WIDTH):
        inside = columns[(columns >= start) & (columns < start + WIDTH)]
        assert len(inside) > 20
        assert inside.max() < start + WIDTH / 2
    np.testing.assert_array_equal(both[1], np.hstack([left[1], right[1]]))


def test_a_labels_rim_lies_around_its_letters(tmp_path: Path) -> None:
    """It was the same words in bolder letters, which OpenCV 5 sets wider: a second word half beside the first."""
    sides = []
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((120, 400, 3), 128, np.uint8))
        sides.append(tmp_path / f"{name}.png")
    assert compare(*sides, tmp_path / "out.png", "--labels", "long words,b") == 0
    written = cv2.imread(str(tmp_path / "out.png"))[:, :400, 0].astype(int)
    white, dark = written > 200, written < 60
    for axis in (0, 1):
        letters, rim = (np.flatnonzero(mask.any(axis=axis)) for mask in (white, dark))
        before, after = letters[0] - rim[0], rim[-1] - letters[-1]
        assert 1 <= before <= 3
        assert 1 <= after <= 3


def test_a_turned_video_is_shown_upright(tmp_path: Path) -> None:
    """Phones film upright pictures lying down and add a rotation; side by side they must stand."""
    turned = msgspec.structs.replace(INFO, rotation=90)
    a, b = write_clip(tmp_path / "a.mp4", 1, info=turned), write_clip(tmp_path / "b.mp4", 2, info=turned)
    assert read(a)[0].rotation % 360 == 90
    assert compare(a, b, tmp_path / "out.mkv", "--codec", "ffv1") == 0
    info, frames = read(tmp_path / "out.mkv")
    assert (info.width, info.height, info.rotation) == (2 * HEIGHT, WIDTH, 0)
    left = planes(a)[0]
    np.testing.assert_array_equal(frames[0].planes()[0][:, :HEIGHT], np.rot90(left[0]))


def test_pictures_are_compared_as_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    a, b = (rng.integers(0, 256, (20, 30, 3), np.uint8) for _ in range(2))
    cv2.imwrite(str(tmp_path / "a.png"), a)
    cv2.imwrite(str(tmp_path / "b.png"), b)
    assert compare(tmp_path / "a.png", tmp_path / "b.png", tmp_path / "out.png") == 0
    written = cv2.imread(str(tmp_path / "out.png"))
    assert written is not None
    np.testing.assert_array_equal(written, np.hstack([a, b]))


def test_json_tells_what_was_written(pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.mkv"
    assert compare(*pair, out, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"out": str(out), "frames": FRAMES, "width": 2 * WIDTH, "height": HEIGHT}


@pytest.mark.parametrize("short_first", [True, False])
def test_clips_of_unequal_length_are_refused_and_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], short_first: bool
) -> None:
    clips = [write_clip(tmp_path / "short.mkv", 1, frames=3), write_clip(tmp_path / "long.mkv", 2, frames=4)]
    before = set(tmp_path.iterdir())
    assert compare(*(clips if short_first else clips[::-1]), tmp_path / "out.mkv") == 1
    said = capsys.readouterr().err
    assert "short.mkv has 3 frames" in said
    assert "long.mkv has more" in said
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 64}, "48×32 with 64×32"),
        ({"color_range": 2}, "limited range with full range"),
    ],
)
def test_what_cannot_stand_side_by_side_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, int], words: str
) -> None:
    a = write_clip(tmp_path / "a.mkv", 1)
    b = write_clip(tmp_path / "b.mkv", 2, info=msgspec.structs.replace(INFO, **change))
    assert compare(a, b, tmp_path / "out.mkv") == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out.mkv").exists()


def test_an_existing_file_is_replaced_only_when_asked(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mkv"
    out.write_text("mine")
    assert compare(*pair, out) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert compare(*pair, out, "--overwrite") == 0
    assert len(planes(out)) == FRAMES


@pytest.mark.parametrize("out", ["a", "b", "link"])
def test_neither_of_the_two_is_replaced(
    pair: tuple[str, str], tmp_path: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --overwrite the comparison was written over its own source."""
    link = tmp_path / "link.mkv"
    link.symlink_to(pair[1])
    names = {"a": pair[0], "b": pair[1], "link": str(link)}
    before = [Path(one).read_bytes() for one in pair]
    assert compare(*pair, Path(names[out]), "--overwrite") == 2
    assert "is one of the two itself" in capsys.readouterr().err
    assert [Path(one).read_bytes() for one in pair] == before


def test_labels_that_are_not_two_are_wrong_usage(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(*pair, tmp_path / "out.mkv", "--labels", "one,two,three") == 2
    assert "two words" in capsys.readouterr().err
