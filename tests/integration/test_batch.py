"""`derain batch` as a user sees it: the tree, what is skipped, what fails, reports, parts, a watched folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.batch import Watcher
from pipeline.job import IDENTITY, Job
from pipeline.sinks.options import EncodeOptions
from pipeline.split_batch import SplitBatch
from tests.clips import B_FRAMES, make_clip
from tests.conftest import Derain
from tests.running_batch import Running, batches
from tests.segmented import AtOnce

QUICK = ("--model", "identity", "--codec", "ffv1", "--container", "mkv")


def hashes(path: Path) -> list[tuple[int | None, int]]:
    with av.open(str(path)) as held:
        return [(f.pts, hash(f.to_ndarray().tobytes())) for f in held.decode(video=0)]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for name in ("a.mp4", "x/b.mkv", "x/y/c.mp4"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        make_clip(path, frames=8)
    (tmp_path / "in/x/bad.mp4").write_bytes(b"this is no video" * 99)
    return tmp_path


def test_a_library_with_a_bad_file(library: Path, derain: Derain) -> None:
    plan = derain("batch", "in", "out", *QUICK, "--dry-run")
    assert plan.returncode == 0
    assert plan.stdout.count("derain  in/") == 4 and "4 of 4 files to do" in plan.stdout
    assert not (library / "out").exists()

    done = derain("batch", "in", "out", *QUICK, "--report", "report.json", "--jobs", "2")
    assert done.returncode == 1
    assert "in/x/bad.mp4" in done.stderr and "3 done, 1 failed" in done.stderr
    found = sorted(str(path.relative_to(library / "out")) for path in (library / "out").rglob("*") if path.is_file())
    assert found == ["a.mkv", "x/b.mkv", "x/y/c.mkv"]
    for name in found:
        assert len(hashes(library / "out" / name)) == 8
    report = json.loads((library / "report.json").read_text())
    assert report["totals"] == {"done": 3, "skipped": 0, "failed": 1, "interrupted": 0, "not begun": 0}
    assert report["frames"] == 24
    bad = next(file for file in report["files"] if file["status"] == "failed")
    assert bad["source"] == "in/x/bad.mp4" and "not a video" in bad["error"]

    times = {path: path.stat().st_mtime_ns for path in (library / "out").rglob("*.mkv")}
    again = derain("batch", "in", "out", *QUICK)
    assert again.returncode == 1
    assert "3 skipped, 1 failed" in again.stderr
    assert times == {path: path.stat().st_mtime_ns for path in (library / "out").rglob("*.mkv")}


def test_parts_give_the_frames_of_the_whole(tmp_path: Path, derain: Derain) -> None:
    (tmp_path / "in").mkdir()
    make_clip(tmp_path / "in/long.mp4", frames=60, time_base=Fraction(1, 1000), options=B_FRAMES | {"g": "10"})
    assert derain("batch", "in", "parts", *QUICK, "--split", "0.8", "--jobs", "2").returncode == 0
    assert hashes(tmp_path / "parts/long.mkv") == hashes(tmp_path / "in/long.mp4")
    with av.open(str(tmp_path / "parts/long.mkv")) as held:
        assert sum(1 for packet in held.demux(video=0) if packet.size) == 60
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["long.mkv"]


@pytest.mark.parametrize("some", [1, 2])
def test_a_file_is_joined_once(tmp_path: Path, some: int) -> None:
    """On a fast machine the last part was done before the plan was asked whether there are more. On a busy cluster one
    part was heard of when the segment of another lay there already, but the end of its task was still to be told.

    Both times it was joined again, from a work folder that was gone, and a file that was whole was said to have failed.
    """
    make_clip(tmp_path / "long.mp4", frames=60, time_base=Fraction(1, 1000), options={"g": "10"})
    source, destination = str(tmp_path / "long.mp4"), str(tmp_path / "out.mkv")
    job = Job(source=source, destination=destination, model=IDENTITY, encode=EncodeOptions(codec="ffv1"))
    with SplitBatch(AtOnce(some=some), 0.8) as batch:
        results = batch.run([job], Watcher())
    assert [(one.status, one.frames_out, one.error) for one in results] == [("done", 60, None)]
    assert hashes(tmp_path / "out.mkv") == hashes(tmp_path / "long.mp4")


def test_usage(tmp_path: Path, derain: Derain) -> None:
    assert derain("batch", "in").returncode == 2
    missing = derain("batch", "in", "out", *QUICK)
    assert missing.returncode == 1 and "no such file" in missing.stderr
    assert derain("batch", "in", "out", "--preset", "slow").returncode == 2


def test_a_quiet_batch_says_what_failed(library: Path, derain: Derain) -> None:
    """It ended with 1 and not a word. A link to nothing among the files was an internal error, and nothing was done."""
    (library / "in/lost.mp4").symlink_to("nowhere")
    done = derain("batch", "in", "out", *QUICK, "-q", "--jobs", "1")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["in/lost.mp4", "in/x/bad.mp4"]
    assert "no such file" in lines[0] and "not a video" in lines[1]
    assert (library / "out/x/y/c.mkv").exists()


def test_a_report_that_cannot_be_written_is_said_before_the_work(library: Path, derain: Derain) -> None:
    """It was said after it, when what it should have held was lost."""
    for report, says in (("nowhere/r.json", "there is no folder"), ("in", "is a folder")):
        done = derain("batch", "in", "out", *QUICK, "--report", report)
        assert done.returncode == 1 and f"--report {report}: " in done.stderr and says in done.stderr
    assert not (library / "out").exists()


@pytest.fixture
def running() -> Iterator[list[Running]]:
    with batches() as started:
        yield started


def test_a_killed_worker_costs_a_try(tmp_path: Path, running: list[Running]) -> None:
    (tmp_path / "in").mkdir()
    make_clip(tmp_path / "in/a.mp4", frames=140, width=640, height=360)
    make_clip(tmp_path / "in/b.mp4", frames=8)
    batch = Running(tmp_path, "in", "out", *QUICK, "--jobs", "1", "--segment", "0.4", "--report", "report.json")
    running.append(batch)
    batch.wait_for(tmp_path, "*.segment")
    batch.workers()[0].kill()
    _, said = batch.process.communicate(timeout=60)
    assert batch.process.returncode == 0, said
    report = json.loads((tmp_path / "report.json").read_text())
    assert [(file["status"], file["frames_out"]) for file in report["files"]] == [("done", 140), ("done", 8)]
    assert report["files"][0]["resumed"] >= 10
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.mkv", "b.mkv"]


def test_a_file_that_hangs_fails_and_the_rest_goes_on(tmp_path: Path, running: list[Running]) -> None:
    """An encoder that hung (and so would storage that has gone) kept the batch waiting all night: only the decoder was
    watched, from inside the same process. A worker that is stopped stands for it."""
    (tmp_path / "in").mkdir()
    make_clip(tmp_path / "in/a.mp4", frames=140, width=640, height=360)
    make_clip(tmp_path / "in/b.mp4", frames=8)
    options = ("--jobs", "1", "--segment", "0.4", "--stall-timeout", "5", "--report", "report.json")
    batch = Running(tmp_path, "in", "out", *QUICK, *options)
    running.append(batch)
    batch.wait_for(tmp_path, "*.segment")
    batch.workers()[0].suspend()
    _, said = batch.process.communicate(timeout=60)
    assert batch.process.returncode == 1, said
    files = json.loads((tmp_path / "report.json").read_text())["files"]
    assert [(file["status"], file["error"]) for file in files] == [
        ("failed", "no progress for 5 s: given up"),
        ("done", None),
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".a.mkv.derain", "b.mkv"]


def test_what_is_removed_as_with_run(tmp_path: Path, derain: Derain) -> None:
    """`derain batch` once knew none of these options, and took whatever the preset said."""
    (tmp_path / "in/x").mkdir(parents=True)
    make_clip(tmp_path / "in/x/a.mp4", frames=3)
    cv2.imwrite(str(tmp_path / "mask.png"), np.zeros((48, 64), np.uint8))
    options = ("--model", "stream-nano", "--runtime", "eager", *QUICK[2:])
    removed = ("--region", "mask.png", "--strength", "0.5", "--save-rain", "rain")
    done = derain("batch", "in", "out", *options, *removed)
    assert done.returncode == 0, done.stderr
    before, after = (hashes(tmp_path / name) for name in ("in/x/a.mp4", "out/x/a.mkv"))
    assert [pixels for _, pixels in after] == [pixels for _, pixels in before]  # black: nowhere
    with av.open(str(tmp_path / "rain/x/a.mkv")) as held:
        assert all((frame.to_ndarray() == 128).all() for frame in held.decode(video=0))


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--strength", "3"), 2, "--strength 3"),
        (("--region", "no.png"), 1, "no such picture"),
        (("--model", "best"), 2, "--model best"),
        (("--save-rain", "in/a.mp4"), 1, "--save-rain of a batch need a folder"),
    ],
)
def test_what_is_wrong_for_every_file_is_said_once(
    tmp_path: Path, derain: Derain, options: tuple[str, ...], code: int, said: str
) -> None:
    (tmp_path / "in").mkdir()
    make_clip(tmp_path / "in/a.mp4", frames=3)
    failed = derain("batch", "in", "out", *options)
    assert failed.returncode == code
    assert said in failed.stderr and len(failed.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_watched_folder(tmp_path: Path, running: list[Running]) -> None:
    (tmp_path / "in").mkdir()
    batch = Running(tmp_path, "in", "out", *QUICK, "--watch", "--stable", "0.2", "--report", "report.json")
    running.append(batch)
    for name in ("one", "two"):
        make_clip(tmp_path / f"in/{name}.mp4", frames=8)
        batch.wait_for(tmp_path / f"out/{name}.mkv")
    batch.process.send_signal(signal.SIGTERM)
    _, said = batch.process.communicate(timeout=60)
    assert batch.process.returncode == 0, said
    totals = json.loads((tmp_path / "report.json").read_text())["totals"]
    assert totals["failed"] == 0
    assert totals["done"] + totals["interrupted"] == 2  # the second is there, but its worker may not have said so yet


def test_memory_stays_flat_over_many_short_files(tmp_path: Path) -> None:
    """In a process of its own, which is what a worker does."""
    make_clip(tmp_path / "in.mp4", frames=8)
    program = """
import sys, psutil
from pipeline.batch_worker import carried_out
from pipeline.job import Job
from pipeline.sinks.options import EncodeOptions
me, seen = psutil.Process(), []
for number in range(90):
    options = EncodeOptions(preset="ultrafast")
    job = Job(source="in.mp4", destination=f"out/{number}.mp4", model="identity", encode=options)
    result = carried_out(job)
    assert result.status == "done", result
    if number in (29, 89):
        seen.append((me.memory_info().rss, me.num_fds(), me.num_threads()))
(before, files, threads), (after, files_then, threads_then) = seen
assert after - before < 8 << 20, (before, after)
assert files_then < files + 20 and threads_then < threads + 10, seen  # some of the last job may just be closing
"""
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        check=True,
        timeout=110,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
