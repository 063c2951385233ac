"""A long job with --save-rain: result and rain layer in segments, cut off anywhere and gone on with."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from pipeline.batch import Watcher
from pipeline.errors import DerainError
from pipeline.films import Films
from pipeline.in_threads import in_threads
from pipeline.job import Job, check_job
from pipeline.offline import run_job
from pipeline.restore_options import RestoreOptions
from pipeline.segments import WorkFolder
from pipeline.split_batch import SplitBatch
from tests.clips import B_FRAMES, make_clip
from tests.segmented import AtOnce, CutOff, carry_out, job_for, pictures

FRAMES = 50


def rain_job(tmp_path: Path, tiny: Path, name: str) -> Job:
    source = tmp_path / "in.mp4"
    if not source.exists():
        make_clip(source, frames=FRAMES, options=B_FRAMES | {"g": "10"})
    job = job_for(source, tmp_path / f"{name}.mkv")
    rain = RestoreOptions(save_rain=str(tmp_path / f"{name}-rain.mkv"))
    return msgspec.structs.replace(job, model=str(tiny), runtime="eager", threads=1, restore=rain)


@pytest.fixture
def whole(tmp_path: Path, tiny: Path) -> Job:
    """A job that was done in one go."""
    job = rain_job(tmp_path, tiny, "whole")
    run_job(msgspec.structs.replace(job, segment=0.0), run=in_threads)
    return job


@pytest.fixture
def bits(whole: Job, tmp_path: Path, tiny: Path) -> Job:
    """The same one, to be cut off."""
    return rain_job(tmp_path, tiny, "bits")


def cut_off(job: Job, frames: int) -> None:
    with pytest.raises(CutOff):
        carry_out(job, frames)


def same_films(tmp_path: Path) -> None:
    for film in ("", "-rain"):
        assert pictures(tmp_path / f"bits{film}.mkv") == pictures(tmp_path / f"whole{film}.mkv")
    names = ["bits-rain.mkv", "bits.mkv", "in.mp4", "whole-rain.mkv", "whole.mkv"]
    assert sorted(os.listdir(tmp_path)) == names


def test_cut_off_and_gone_on_with_both_films_are_the_same(bits: Job, tmp_path: Path) -> None:
    """A job with --save-rain was written in one go, and after hours of work a power loss left nothing of it."""
    cut_off(bits, 15)
    cut_off(bits, 4 + 17)  # of warm-up, and more than a segment
    assert run_job(bits, run=in_threads).resumed == 20
    same_films(tmp_path)


@pytest.mark.parametrize("film", ["result", "layer"])
def test_it_goes_on_where_both_are_done(bits: Job, tmp_path: Path, film: str) -> None:
    """Two encoders are not equally quick: the last segment of one may be done when the other's is not."""
    cut_off(bits, 35)
    work = getattr(Films(bits), film)
    assert work.numbers() == [0, 1, 2]
    os.unlink(work.segment(2))
    assert run_job(bits, run=in_threads).resumed == 20
    same_films(tmp_path)


def test_a_segment_of_one_film_is_a_new_beginning(bits: Job, tmp_path: Path) -> None:
    cut_off(bits, 15)
    os.unlink(WorkFolder(bits.restore.save_rain).segment(0))
    assert run_job(bits, run=in_threads).resumed == 0
    same_films(tmp_path)


def test_killed_between_the_two_films(bits: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer has its name and the result has not: the next run takes the layer for its own and adds the result."""
    joined = WorkFolder.note_placed

    def killed(work: WorkFolder, path: str) -> None:
        if work.destination == bits.destination:
            raise CutOff
        joined(work, path)

    monkeypatch.setattr(WorkFolder, "note_placed", killed)
    with pytest.raises(CutOff):
        carry_out(bits)
    monkeypatch.undo()
    assert os.path.exists(bits.restore.save_rain) and not os.path.exists(bits.destination)
    check_job(bits)
    assert run_job(bits, run=in_threads).resumed == FRAMES
    same_films(tmp_path)


def test_a_layer_of_somebody_else_is_not_replaced(bits: Job, tmp_path: Path) -> None:
    cut_off(bits, 35)
    (tmp_path / "bits-rain.mkv").write_bytes(b"mine")
    with pytest.raises(DerainError, match="exists already"):
        check_job(bits)


def test_killed_when_it_only_had_to_clear_away(bits: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both films had their names, the work folders were still there, and the same command said: exists already."""

    def killed(films: Films) -> None:
        raise CutOff

    monkeypatch.setattr(Films, "remove", killed)
    with pytest.raises(CutOff):
        carry_out(bits)
    monkeypatch.undo()
    check_job(bits)
    run_job(bits, run=in_threads)
    same_films(tmp_path)


def test_with_and_without_a_layer_are_not_mixed(bits: Job, tmp_path: Path) -> None:
    cut_off(bits, 35)
    without = msgspec.structs.replace(bits, restore=RestoreOptions())
    with pytest.raises(DerainError, match="save_rain"):
        run_job(without, run=in_threads)
    run_job(without, restart=True, run=in_threads)  # and takes the layer's segments away too
    assert sorted(os.listdir(tmp_path)) == ["bits.mkv", "in.mp4", "whole-rain.mkv", "whole.mkv"]


def test_two_runs_on_one_layer_do_not_collide(bits: Job, tmp_path: Path) -> None:
    other = WorkFolder(bits.restore.save_rain)
    other.lock()
    with pytest.raises(DerainError, match=r"bits-rain.mkv: another run .* is writing it"):
        run_job(bits, run=in_threads)
    other.remove()
    assert sorted(os.listdir(tmp_path)) == ["in.mp4", "whole-rain.mkv", "whole.mkv"]


@pytest.mark.parametrize("stop", [5, 12])
def test_given_up_before_the_first_segment_it_leaves_nothing(bits: Job, tmp_path: Path, stop: int) -> None:
    cut_off(bits, stop)
    left = {".bits.mkv.derain", ".bits-rain.mkv.derain"} if stop > 10 else set()
    assert set(os.listdir(tmp_path)) - {"in.mp4", "whole-rain.mkv", "whole.mkv"} == left


def test_folders_of_pictures(bits: Job, tmp_path: Path) -> None:
    """The layer of a video as pictures: its segments are folders, and it appears whole."""
    layer = tmp_path / "layer"
    job = msgspec.structs.replace(bits, restore=RestoreOptions(save_rain=str(layer)))
    cut_off(job, 25)
    assert not layer.exists()
    run_job(job, run=in_threads)
    assert sorted(os.listdir(layer)) == [f"{number:06d}.png" for number in range(1, FRAMES + 1)]
    assert pictures(tmp_path / "bits.mkv") == pictures(tmp_path / "whole.mkv")


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "warmed up"])
def test_parts_have_their_layer_too(bits: Job, tmp_path: Path, exact: bool) -> None:
    """`derain batch --split` and `--ray` refused --save-rain."""
    with SplitBatch(AtOnce(3), 0.4, exact=exact) as batch, pytest.raises(CutOff):
        batch.run([bits], Watcher())
    os.unlink(WorkFolder(bits.restore.save_rain).segment(2))
    runner = AtOnce()
    with SplitBatch(runner, 0.4, exact=exact) as batch:
        (result,) = batch.run([bits], Watcher())
    assert (result.status, result.frames_out, result.error) == ("done", FRAMES, None)
    assert runner.made == [2, 3]
    if exact:
        same_films(tmp_path)
    for film in (bits.destination, bits.restore.save_rain):
        whole = pictures(tmp_path / os.path.basename(film).replace("bits", "whole"))
        assert [pts for pts, _ in pictures(Path(film))] == [pts for pts, _ in whole]
