"""Evaluation of a clip: what the network is given, when it forgets, what is scored, and which clips do not match."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.clip_writer import ClipWriter
from training.clips import ClipInfo
from training.errors import TrainingError
from training.evaluation import evaluate_pair
from training.pairs import Pair


class Recorder:
    """Stands where `esdnet.Derainer` does: takes 10 steps of luma away and writes down how it was called."""

    def __init__(self, remembers: bool = True) -> None:
        self.calls: list[str] = []
        self.kinds: list[tuple] = []
        self.state = ["membrane"] if remembers else []

    def reset(self) -> None:
        self.calls.append("reset")

    def __call__(self, frame, full_range=False):
        self.calls.append("frame")
        self.kinds.append((type(frame).__name__, full_range))
        if isinstance(frame, np.ndarray):
            return frame - 10
        return frame[0] - 10, frame[1], frame[2]


def video(path: Path, luma: int, frames: int = 3, size: tuple[int, int] = (32, 24), full_range: bool = False) -> Path:
    info = ClipInfo(*size, Fraction(1, 25), Fraction(25), full_range, 2 if full_range else 1, 1)
    chroma = np.full((size[1] // 2, size[0] // 2), 128, np.uint8)
    with ClipWriter(path, info, codec="ffv1") as writer:
        for number in range(frames):
            writer.write((np.full((size[1], size[0]), luma, np.uint8), chroma, chroma), number, 1)
    return path


def picture(path: Path, value: int, size: tuple[int, int] = (32, 24)) -> Path:
    cv2.imwrite(str(path), np.full((size[1], size[0], 3), value, np.uint8))
    return path


def pair(rainy: Path | list[Path], clean: Path | list[Path], pictures: bool = False) -> Pair:
    sides = [tuple(side) if isinstance(side, list) else (side,) for side in (rainy, clean)]
    return Pair("clip", sides[0], sides[1], pictures)


@pytest.mark.parametrize(("full_range", "step"), [(True, 10 * 219 / 255), (False, 10)])
def test_video_goes_in_as_planes_of_its_range_and_is_scored_before_and_after(tmp_path, full_range, step):
    derainer = Recorder()
    sides = [video(tmp_path / f"{v}.mkv", v, full_range=full_range) for v in (110, 100)]
    row = evaluate_pair(derainer, pair(*sides))
    assert derainer.calls == ["reset", "frame", "frame", "frame"]
    assert derainer.kinds == [("tuple", full_range)] * 3
    assert row["frames"] == 3
    assert row["rainy"]["psnr_y"] == pytest.approx(20 * np.log10(255 / step), abs=0.8)
    assert row["derained"]["psnr_y"] > 140
    assert row["gain_db"] == row["derained"]["psnr_y"] - row["rainy"]["psnr_y"]
    assert row["derained"]["flicker"] == pytest.approx(0)


def test_the_memory_can_be_taken_away(tmp_path):
    derainer = Recorder()
    evaluate_pair(derainer, pair(video(tmp_path / "a.mkv", 110), video(tmp_path / "b.mkv", 100)), True)
    assert derainer.calls == ["reset", *["reset", "frame"] * 3]


def test_pictures_of_a_clip_go_in_as_rgb_one_after_the_other(tmp_path):
    derainer = Recorder()
    rainy = [picture(tmp_path / f"r{i}.png", 60 + i) for i in range(2)]
    clean = [picture(tmp_path / f"c{i}.png", 50 + i) for i in range(2)]
    row = evaluate_pair(derainer, pair(rainy, clean, True))
    assert derainer.calls == ["reset", "frame", "frame"]
    assert derainer.kinds == [("ndarray", False)] * 2
    assert row["rainy"]["psnr_rgb"] == pytest.approx(20 * np.log10(25.5))
    assert row["derained"]["psnr_rgb"] > 140


@pytest.mark.parametrize(("remembers", "times"), [(True, 8), (False, 1)])
def test_a_standing_picture_is_repeated_for_a_model_with_a_memory(tmp_path, remembers, times):
    derainer = Recorder(remembers)
    row = evaluate_pair(
        derainer, pair(picture(tmp_path / "r.png", 60), picture(tmp_path / "c.png", 50), True), repeat=8
    )
    assert derainer.calls == ["reset", *["frame"] * times]
    assert (row["frames"], row["derained"]["flicker"]) == (1, None)


def test_clips_that_do_not_match_are_refused(tmp_path):
    three, two = video(tmp_path / "3.mkv", 100), video(tmp_path / "2.mkv", 100, frames=2)
    with pytest.raises(TrainingError, match="clip: the clean clip ends after 2 frames"):
        evaluate_pair(Recorder(), pair(three, two))
    with pytest.raises(TrainingError, match="clip: the rainy clip ends after 2 frames"):
        evaluate_pair(Recorder(), pair(two, three))
    wide = video(tmp_path / "wide.mkv", 100, size=(48, 24))
    with pytest.raises(TrainingError, match="frame 0: the rainy one is 32×24, the clean one 48×24"):
        evaluate_pair(Recorder(), pair(three, wide))
    tiny = video(tmp_path / "tiny.mkv", 100, size=(10, 8))
    with pytest.raises(TrainingError, match="SSIM needs pictures of at least 11×11"):
        evaluate_pair(Recorder(), pair(tiny, tiny))


def test_pictures_of_two_sizes_are_no_clip(tmp_path):
    mixed = [picture(tmp_path / "a.png", 50), picture(tmp_path / "b.png", 50, (24, 32))]
    with pytest.raises(TrainingError, match=r"b\.png is 24×32, the pictures before it 32×24; pass --pictures"):
        evaluate_pair(Recorder(), pair(mixed, mixed, True))
