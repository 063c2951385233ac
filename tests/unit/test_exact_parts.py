"""Parts of a file that hand their membranes on: bit for bit a run that never stopped, also where the power failed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pipeline.batch import Watcher
from pipeline.in_threads import in_threads
from pipeline.job import Job
from pipeline.offline import run_job
from pipeline.segments import WorkFolder
from pipeline.split_batch import SplitBatch
from tests.clips import B_FRAMES, make_clip
from tests.segmented import AtOnce, CutOff, job_for, pictures


@pytest.fixture
def whole(tmp_path: Path, tiny: Path) -> Job:
    """A job whose result, of four parts, is there."""
    source = make_clip(tmp_path / "in.mp4", frames=50, options=B_FRAMES | {"g": "10"})
    job = job_for(source, tmp_path / "whole.mkv")
    job = msgspec.structs.replace(job, model=str(tiny), runtime="eager", threads=1)
    run_job(job, run=in_threads)
    return job


def test_exact_parts_are_an_unbroken_run(whole: Job, tmp_path: Path) -> None:
    """Parts that were only warmed up were some 54 dB from it, and `derain batch --ray` was to be as the local run."""
    job = msgspec.structs.replace(whole, destination=str(tmp_path / "parts.mkv"))
    with SplitBatch(AtOnce(), 0.4, exact=True) as batch:
        (result,) = batch.run([job], Watcher())
    assert (result.status, result.frames_out, result.error) == ("done", 50, None)
    assert pictures(tmp_path / "parts.mkv") == pictures(tmp_path / "whole.mkv")
    with SplitBatch(AtOnce(), 0.4) as batch:
        batch.run([msgspec.structs.replace(job, destination=str(tmp_path / "warmed.mkv"))], Watcher())
    assert pictures(tmp_path / "warmed.mkv") != pictures(tmp_path / "whole.mkv")  # so the test above can fail


@pytest.mark.parametrize(
    ("lost", "made_again"),
    [(0, [3]), (1, [2, 3]), (9, [0, 1, 2, 3])],
    ids=["nothing lost", "the last membranes", "all membranes"],
)
def test_exact_parts_go_on_after_a_power_loss(whole: Job, tmp_path: Path, lost: int, made_again: list[int]) -> None:
    """Where membranes are lost the parts are made again from the last that are whole, or from the beginning."""
    job = msgspec.structs.replace(whole, destination=str(tmp_path / "parts.mkv"))
    with SplitBatch(AtOnce(3), 0.4, exact=True) as batch, pytest.raises(CutOff):
        batch.run([job], Watcher())
    kept = sorted(Path(WorkFolder(job.destination).path).glob("*.membranes"))
    assert [path.name for path in kept] == ["000001.membranes", "000002.membranes", "000003.membranes"]
    for path in kept[::-1][:lost]:
        path.write_bytes(path.read_bytes()[:-7])
    runner = AtOnce()
    with SplitBatch(runner, 0.4, exact=True) as batch:
        (result,) = batch.run([job], Watcher())
    assert (result.status, result.error) == ("done", None)
    assert runner.made == made_again
    assert pictures(tmp_path / "parts.mkv") == pictures(tmp_path / "whole.mkv")


def test_exact_parts_are_not_mixed_with_others(whole: Job, tmp_path: Path) -> None:
    job = msgspec.structs.replace(whole, destination=str(tmp_path / "parts.mkv"))
    with SplitBatch(AtOnce(2), 0.4) as batch, pytest.raises(CutOff):
        batch.run([job], Watcher())
    with SplitBatch(AtOnce(), 0.4, exact=True) as batch:
        (result,) = batch.run([job], Watcher())
    assert result.status == "failed"
    assert "exact: False then, True now" in str(result.error)
