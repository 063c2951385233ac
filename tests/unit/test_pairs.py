"""Rainy and clean files are paired by name, and what has no counterpart is an error, not left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.errors import TrainingError
from training.pairs import find_pairs


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_two_files_are_a_pair_whatever_their_names(tmp_path):
    fill(tmp_path, "a.mp4", "b.mp4")
    (pair,) = find_pairs(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert (pair.rainy, pair.clean, pair.pictures) == ((tmp_path / "a.mp4",), (tmp_path / "b.mp4",), False)


def test_one_folder_of_videos_is_paired_by_the_word_for_the_side(tmp_path):
    fill(tmp_path, "b.rainy.mp4", "b.clean.mp4", "a.rainy.mkv", "a.clean.mp4", "notes.txt", "._b.rainy.mp4")
    pairs = find_pairs(tmp_path, tmp_path)
    assert [p.name for p in pairs] == ["a", "b"]
    assert pairs[0].rainy == (tmp_path / "a.rainy.mkv",)
    assert pairs[0].clean == (tmp_path / "a.clean.mp4",)


def test_pictures_are_one_clip_in_order_or_a_clip_each(tmp_path):
    rainy = fill(tmp_path / "rain", "rain-002.png", "rain-001.png", ".hidden.png")
    clean = fill(tmp_path / "gt", "norain-001.png", "norain-002.png")
    (clip,) = find_pairs(rainy, clean)
    assert [p.name for p in clip.rainy] == ["rain-001.png", "rain-002.png"]
    assert [p.name for p in clip.clean] == ["norain-001.png", "norain-002.png"]
    each = find_pairs(rainy, clean, each_picture=True)
    assert [(p.name, len(p.rainy), p.pictures) for p in each] == [("001", 1, True), ("002", 1, True)]


def test_folders_of_sequences_are_a_clip_each(tmp_path):
    rainy = fill(tmp_path / "rainy", "a1/1.jpg", "a1/2.jpg", "b4/1.jpg")
    clean = fill(tmp_path / "clean", "a1/1.jpg", "a1/2.jpg", "b4/1.jpg")
    assert [(p.name, len(p.rainy)) for p in find_pairs(rainy, clean)] == [("a1", 2), ("b4", 1)]


@pytest.mark.parametrize(
    ("rainy", "clean", "text"),
    [
        (["1.png", "2.png", "3.png"], ["1.png"], r"2\.png has no counterpart in .*clean \(and 1 more\)"),
        (["1.png"], ["1.png", "9.png"], r"9\.png has no counterpart in .*rainy$"),
        (["a.png", "a.jpg"], ["a.png"], "have the same name but for their side"),
        ([], ["1.png"], r"rainy has no pictures or videos in it"),
        (["1.txt"], ["1.mp4"], r"rainy has no pictures or videos in it"),
    ],
)
def test_what_has_no_counterpart_is_named(tmp_path, rainy, clean, text):
    (tmp_path / "rainy").mkdir()
    (tmp_path / "clean").mkdir()
    fill(tmp_path / "rainy", *rainy)
    fill(tmp_path / "clean", *clean)
    with pytest.raises(TrainingError, match=text):
        find_pairs(tmp_path / "rainy", tmp_path / "clean")


def test_a_missing_side_a_file_for_a_folder_and_one_folder_without_sides_are_refused(tmp_path):
    fill(tmp_path, "a.mp4")
    with pytest.raises(TrainingError, match=r"nope is not there"):
        find_pairs(tmp_path / "a.mp4", tmp_path / "nope")
    with pytest.raises(TrainingError, match=r"two files or two folders"):
        find_pairs(tmp_path / "a.mp4", tmp_path)
    with pytest.raises(TrainingError, match=r"NAME\.rainy\.mp4 and NAME\.clean\.mp4"):
        find_pairs(tmp_path, tmp_path)
