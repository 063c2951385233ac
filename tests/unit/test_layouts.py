"""The benchmarks' folder layouts are told by the names in them; what is incomplete or damaged is named early."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from training.errors import TrainingError
from training.layouts import LAYOUTS, find_layout
from training.paired_pictures import check_pairs, read_pair


def picture(path: Path, value: int = 90, size: tuple[int, int] = (24, 16)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size[1], size[0], 3), value, np.uint8))


SHIPPED = {
    "rain12": {"001_in.png": "001_GT.png", "002_in.png": "002_GT.png"},
    "rain100": {"Rain100L/rainy/rain-001.png": "Rain100L/norain-001.png"},
    "rain100 in one folder": {"RainTrainL/rain-9.png": "RainTrainL/norain-9.png"},
    "rain100 in two": {"rain/rain-1.png": "norain/norain-1.png"},
    "rain200": {"train/rain/X2/norain-1x2.png": "train/norain/norain-1.png"},
    "spa": {"rain/000.png": "gt/000gt.png", "rain/001.png": "gt/001gt.png"},
    "folders": {"train/input/7.png": "train/target/7.png"},
    "folders of ours": {"rainy/001.png": "clean/001.png"},
    "folders in large letters": {"LQ/001.png": "GT/001.png"},
    "rain1400": {"rainy_image/901_1.jpg": "ground_truth/901.jpg", "rainy_image/901_14.jpg": "ground_truth/901.jpg"},
    "named": {"a.rainy.png": "a.clean.png"},
}


@pytest.mark.parametrize("shipped", SHIPPED)
def test_pictures_are_found_as_their_authors_ship_them(tmp_path: Path, shipped: str) -> None:
    for rainy, clean in SHIPPED[shipped].items():
        picture(tmp_path / rainy, 100)
        picture(tmp_path / clean, 50)
    found = find_layout(tmp_path)
    assert found.layout == shipped.split()[0]
    assert {p.rainy: p.clean for p in found.pairs} == {
        (tmp_path / rainy,): (tmp_path / clean,) for rainy, clean in SHIPPED[shipped].items()
    }
    assert all(p.pictures and not p.side_by_side for p in found.pairs)
    check_pairs(found.pairs)
    rainy_picture, clean_picture = read_pair(found.pairs[0])
    assert (rainy_picture.mean(), clean_picture.mean()) == (100, 50)
    assert find_layout(tmp_path, shipped.split()[0]) == found  # asked for by name: the same


CLIPS = {
    "nturain": {"t1_Rain_01": "t1_GT", "t1_Rain_02": "t1_GT", "a2_Rain": "a2_GT"},
    "rainsyn": {"video_rain_light/test/input/1": "video_rain_light/test/processed/1"},
    "clips": {"rainy/street": "gt/street", "rainy/park": "gt/park"},
}


@pytest.mark.parametrize("layout", CLIPS)
def test_folders_of_frames_are_clips(tmp_path: Path, layout: str) -> None:
    for sides in CLIPS[layout].items():
        for folder in sides:
            for number in (9, 10, 11):
                picture(tmp_path / folder / f"{number}.jpg")
    found = find_layout(tmp_path)
    assert found.layout == layout
    assert {p.name: p.clean[0].parent for p in found.pairs} == {
        Path(rainy).name: tmp_path / clean for rainy, clean in CLIPS[layout].items()
    }
    for pair in found.pairs:
        assert [p.stem for p in pair.rainy] == [p.stem for p in pair.clean] == ["9", "10", "11"]
    check_pairs(found.pairs)


def test_clips_with_their_sides_inside_are_asked_for_by_name(tmp_path: Path) -> None:
    """Sets of pictures lie in folders likewise, so as they are these are pictures, and what was taken for what is
    said."""
    for clip in ("001", "002"):
        for side in ("rain", "gt"):
            for number in range(3):
                picture(tmp_path / f"train/{clip}/{side}/{number:05}.png")
    assert find_layout(tmp_path).described("vrds") == "vrds: 6 pictures (layout folders)"
    found = find_layout(tmp_path, "sequences")
    assert found.described("vrds") == "vrds: 2 clips (layout sequences)"
    assert [len(pair.rainy) for pair in found.pairs] == [3, 3]
    assert found.pairs[0].clean[0] == tmp_path / "train/001/gt/00000.png"
    assert {pair.name for pair in found.pairs} == {"train/001", "train/002"}
    assert find_layout(tmp_path / "train/001", "sequences").described("one") == "one: 1 clip (layout sequences)"


def test_what_nturain_filmed_has_no_other_side(tmp_path: Path) -> None:
    """Its whole folder was refused for clips whose clean side nobody has."""
    for folder in ("Dataset_Testing_Synthetic/a1_Rain", "Dataset_Testing_Synthetic/a1_GT"):
        picture(tmp_path / folder / "1.jpg")
    picture(tmp_path / "Dataset_Testing_RealRain/ra1_Rain/1.jpg")
    assert [pair.name for pair in find_layout(tmp_path).pairs] == ["a1_Rain"]


def test_frames_of_rainsyn_lie_beside_each_other(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        picture(tmp_path / f"train/00001/rfc-{number}.png")
        picture(tmp_path / f"train/00001/gtc-{number}.png")
    found = find_layout(tmp_path)
    assert (found.layout, len(found.pairs)) == ("rainsyn", 1)
    assert [p.name for p in found.pairs[0].clean] == ["gtc-1.png", "gtc-2.png", "gtc-10.png"]


def test_rain1200_is_two_halves_of_one_picture(tmp_path: Path) -> None:
    both = np.concatenate([np.full((8, 12, 3), 200, np.uint8), np.full((8, 12, 3), 80, np.uint8)], axis=1)
    for density in ("Rain_Heavy", "Rain_Light"):
        (tmp_path / density / "train2018new").mkdir(parents=True)
        cv2.imwrite(str(tmp_path / density / "train2018new/0.png"), both)
    found = find_layout(tmp_path)
    assert (found.layout, len(found.pairs)) == ("rain1200", 2)
    rainy, clean = read_pair(found.pairs[0])
    assert (rainy.shape, clean.shape) == ((8, 12, 3), (8, 12, 3))
    assert (rainy.mean(), clean.mean()) == (200, 80)
    flat = find_layout(tmp_path / "Rain_Heavy/train2018new", "rain1200")  # the test set is one folder
    assert flat.pairs[0].side_by_side
    cv2.imwrite(str(tmp_path / "Rain_Light/train2018new/1.png"), both[:, :-1])
    with pytest.raises(TrainingError, match=r"1\.png is 23 pixels wide"):
        check_pairs(find_layout(tmp_path).pairs)


def test_spa_data_comes_with_a_list(tmp_path: Path) -> None:
    for name in ("real_world/000/000-0/000-0_1_2.png", "real_world_gt/000/000-0_1_2.png"):
        picture(tmp_path / name)
    listing = tmp_path / "real_world.txt"
    listing.write_text("/real_world/000/000-0/000-0_1_2.png /real_world_gt/000/000-0_1_2.png\n")
    found = find_layout(tmp_path)
    assert found.layout == "spa"
    assert found.pairs[0].clean == (tmp_path / "real_world_gt/000/000-0_1_2.png",)
    listing.write_text("real_world/1.png real_world_gt/1.png\n")
    with pytest.raises(TrainingError, match=r"line 1: real_world/1\.png is not there"):
        find_layout(tmp_path)


@pytest.mark.parametrize(
    ("taken", "says"),
    [("rainy/2.png", "1 clean file has no rainy counterpart, clean/2.png"),
     ("clean/2.png", "1 rainy file has no clean counterpart, rainy/2.png")],
)  # fmt: skip
def test_a_side_that_is_incomplete_is_named(tmp_path: Path, taken: str, says: str) -> None:
    for number in (1, 2, 3):
        for side in ("rainy", "clean"):
            picture(tmp_path / side / f"{number}.png")
    (tmp_path / taken).unlink()
    with pytest.raises(TrainingError, match=says):
        find_layout(tmp_path)


def test_sizes_and_damage_are_found_before_a_run(tmp_path: Path) -> None:
    picture(tmp_path / "rainy/1.png")
    picture(tmp_path / "clean/1.png", size=(25, 16))
    with pytest.raises(TrainingError, match=r"1\.png is 24×16, but .*1\.png 25×16"):
        check_pairs(find_layout(tmp_path).pairs)
    picture(tmp_path / "clean/1.png")
    with pytest.raises(TrainingError, match="smaller than the crop of 32"):
        check_pairs(find_layout(tmp_path).pairs, smallest=32)
    (tmp_path / "clean/1.png").write_bytes(b"no picture")
    with pytest.raises(TrainingError, match=r"clean/1\.png: cannot be read as a picture"):
        check_pairs(find_layout(tmp_path).pairs)
    noise = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    whole = cv2.imencode(".png", noise)[1].tobytes()
    (tmp_path / "clean/1.png").write_bytes(whole[: len(whole) // 2])
    pairs = find_layout(tmp_path).pairs
    check_pairs(pairs)  # its header is whole
    with pytest.raises(TrainingError, match=r"clean/1\.png: cannot be read as a picture"):
        read_pair(pairs[0])


def test_what_is_no_layout_says_which_are_known(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no such folder of pairs"):
        find_layout(tmp_path / "nowhere")
    with pytest.raises(TrainingError, match="no pictures or videos at all"):
        find_layout(tmp_path)
    picture(tmp_path / "holiday.png")
    with pytest.raises(TrainingError, match=r"no pairs .*rain200.*it holds holiday\.png"):
        find_layout(tmp_path)
    with pytest.raises(TrainingError, match="no pairs of rainy and clean as rain200"):
        find_layout(tmp_path, "rain200")
    with pytest.raises(TrainingError, match="unknown layout 'rain999'"):
        find_layout(tmp_path, "rain999")
    assert set(LAYOUTS) >= {"rain12", "rain100", "rain200", "rain1200", "spa", "nturain", "rainsyn"}
