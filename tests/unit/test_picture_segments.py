"""Folders of pictures, cut off anywhere and gone on with: the pictures of a run that never stopped, none made twice."""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from pipeline.errors import DerainError
from pipeline.in_threads import in_threads
from pipeline.offline import run_job
from pipeline.segments import WorkFolder
from tests.clips import make_clip, planes_of
from tests.segmented import CutOff, carry_out, carry_out_in_bits, job_for


def film(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    for index, name in enumerate(names):
        cv2.imwrite(str(folder / name), planes_of(index, 64, 48, "rgb24")[0])
    return folder


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


SOURCES = {
    "video": lambda path: make_clip(path / "in.mp4", frames=35),
    "film": lambda path: film(path / "in", [f"shot {n}.png" for n in range(95, 130)]),
    "photographs": lambda path: film(path / "in", [f"{'abcde'[n % 5]}{n}.png" for n in range(35)]),
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("there", [False, True], ids=["new folder", "folder that is there"])
def test_cut_off_and_gone_on_with_is_the_same(tmp_path: Path, kind: str, there: bool) -> None:
    """A folder of thousands of pictures was once begun anew after every power loss."""
    source = SOURCES[kind](tmp_path)
    whole, bits = job_for(source, tmp_path / "whole"), job_for(source, tmp_path / "bits")
    if kind == "photographs":  # segments of a tenth
        whole, bits = (msgspec.structs.replace(job, segment=4.0) for job in (whole, bits))
    before = {}
    if there:
        (tmp_path / "bits").mkdir()
        (tmp_path / "bits/other.png").write_bytes(b"mine")
        bits = msgspec.structs.replace(bits, encode=msgspec.structs.replace(bits.encode, overwrite=True))
        before = {"other.png": b"mine"}
    run_job(msgspec.structs.replace(whole, segment=0.0), run=in_threads)
    carry_out_in_bits(bits, 13)
    assert len(held(tmp_path / "whole")) == 35
    assert held(tmp_path / "bits") == held(tmp_path / "whole") | before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, "bits", "whole"])


@pytest.mark.parametrize("kind", SOURCES)
def test_with_a_network_bit_for_bit(tmp_path: Path, tiny: Path, kind: str) -> None:
    source = SOURCES[kind](tmp_path)
    whole, bits = (
        msgspec.structs.replace(
            job_for(source, tmp_path / name), model=str(tiny), runtime="eager", threads=1,
            segment=4.0 if kind == "photographs" else 0.4,
        )
        for name in ("whole", "bits")
    )  # fmt: skip
    run_job(msgspec.structs.replace(whole, segment=0.0), run=in_threads)
    with pytest.raises(CutOff):
        carry_out(bits, 25)
    work = WorkFolder(bits.destination)
    finished = [path for number in work.numbers() for path in Path(work.pictures(number)).iterdir()]
    made = {path.name: path.stat().st_mtime_ns for path in finished}
    assert len(made) == 20
    result = run_job(bits, run=in_threads)
    assert result.resumed == 20
    assert result.frames_in == result.frames_out == 35
    assert held(tmp_path / "bits") == held(tmp_path / "whole")
    assert {name: (tmp_path / "bits" / name).stat().st_mtime_ns for name in made} == made


def test_a_changed_picture_is_noticed(tmp_path: Path) -> None:
    source = SOURCES["film"](tmp_path)
    job = job_for(source, tmp_path / "out")
    with pytest.raises(CutOff):
        carry_out(job, 25)
    cv2.imwrite(str(source / "shot 95.png"), np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(DerainError, match="another source, or it has changed"):
        run_job(job, run=in_threads)
    assert run_job(job, run=in_threads, restart=True).frames_out == 35


def test_missing_pictures_are_not_passed_over(tmp_path: Path) -> None:
    source = SOURCES["film"](tmp_path)
    job = job_for(source, tmp_path / "out")
    with pytest.raises(CutOff):
        carry_out(job, 25)
    next((Path(WorkFolder(job.destination).path) / "000000.pictures").iterdir()).unlink()
    with pytest.raises(DerainError, match="pictures are missing from it; pass --restart"):
        run_job(job, run=in_threads)
    assert not (tmp_path / "out").exists()
