"""Several batches at work at one folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clips import make_clip
from tests.running_batch import Running, batches

QUICK = ("--model", "identity", "--codec", "ffv1", "--container", "mkv")


@pytest.fixture
def running() -> Iterator[list[Running]]:
    with batches() as started:
        yield started


def test_two_batches_share_a_folder(tmp_path: Path, running: list[Running]) -> None:
    """Each told as failed what the other had made or was at, and ended with exit code 1."""
    (tmp_path / "in").mkdir()
    for name in "abcde":
        make_clip(tmp_path / f"in/{name}.mp4", frames=60, width=640, height=360)
    for number in range(2):
        running.append(Running(tmp_path, "in", "out", *QUICK, "--jobs", "1", "--report", f"report-{number}.json"))
    for batch in running:
        _, said = batch.process.communicate(timeout=90)
        assert batch.process.returncode == 0, said
    reports = [json.loads((tmp_path / f"report-{number}.json").read_text()) for number in range(2)]
    for one, other in zip(*(report["files"] for report in reports), strict=True):
        assert sorted((one["status"], other["status"])) == ["done", "skipped"], (one, other)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{name}.mkv" for name in "abcde"]


def test_what_a_killed_batch_was_at_the_other_finishes(tmp_path: Path, running: list[Running]) -> None:
    (tmp_path / "in").mkdir()
    make_clip(tmp_path / "in/a.mp4", frames=140, width=640, height=360)
    options = (*QUICK, "--jobs", "1", "--segment", "0.4")
    first = Running(tmp_path, "in", "out", *options)
    running.append(first)
    first.wait_for(tmp_path, "*.segment")
    worker = first.workers()[0]
    worker.suspend()
    second = Running(tmp_path, "in", "out", *options, "--report", "report.json")
    running.append(second)
    assert second.process.stderr is not None
    assert second.process.stderr.readline() == "derain: another run is making what is left; waiting for it\n"
    first.process.kill()
    worker.resume()
    _, said = second.process.communicate(timeout=60)
    assert second.process.returncode == 0, said
    (file,) = json.loads((tmp_path / "report.json").read_text())["files"]
    assert (file["status"], file["frames_out"]) == ("done", 140)
    assert file["resumed"] >= 10
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.mkv"]
