"""`derain batch --ray local`: the frames of the local run, and a killed worker costs nothing but its part."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import av
import psutil
import pytest

from tests.clips import B_FRAMES, make_clip

pytestmark = pytest.mark.alone

pytest.importorskip("ray", reason="Ray is not installed: pip install 'derain[ray]'")

ARGUMENTS = ("--model", "identity", "--quiet")


def environment() -> dict[str, str]:
    """Ray's workers are nice by 15 unless told otherwise: beside other work on the same core they hardly ever run."""
    ray = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | ray


def batch(folder: Path, results: str, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", "batch", "in", results, *ARGUMENTS, *more],
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )


def packets(path: Path) -> list[tuple[int, int | None, int | None, bytes]]:
    with av.open(str(path)) as held:
        return [(p.stream_index, p.pts, p.dts, bytes(p)) for p in held.demux() if p.size]


def a_worker(pid: int) -> psutil.Process | None:
    """A process of Ray that is at a part."""
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if "ray::derain_part" in " ".join(process.cmdline()):
                return process
        except psutil.Error:
            continue
    return None


def at_work(folder: Path, *more: str) -> tuple[subprocess.Popen[str], psutil.Process]:
    """A batch on a cluster of its own, and a worker that is at a part. Ray gives its own start no more than 30 s, which
    a busy machine may not make."""
    said = ""
    for _ in range(3):
        job = batch(folder, "there", "--ray", "local", *more)
        deadline = time.monotonic() + 90
        while job.poll() is None and time.monotonic() < deadline:
            if worker := a_worker(job.pid):
                return job, worker
            time.sleep(0.01)
        job.kill()
        said = job.communicate()[1]
        assert "Ray did not start" in said or not said, said
    raise AssertionError(f"never at work: {said}")


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seams", ["warmed up", "exact"])
def test_the_frames_of_the_local_run_even_when_a_worker_is_killed(tmp_path: Path, tiny: Path, seams: str) -> None:
    """With a network, whose membranes go from part to part over the shared storage where `--exact` asks for it, and
    are warmed up anew on whichever worker gets a part where it does not. Exact parts are the frames of a run in one go,
    the others those of the same parts made here. The rain layer likewise: parts once could not have one."""
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4"):
        make_clip(tmp_path / "in" / name, frames=40, width=96, height=64, options=B_FRAMES | {"g": "10"})
    network = ("--model", str(tiny), "--runtime", "eager", "--threads", "1", "--codec", "ffv1", "--container", "mkv")
    parts = ("--split", "0.4", *(["--exact"] if seams == "exact" else []))
    seen_here, seen_there = ("--save-rain", "rain-here"), ("--save-rain", "rain-there")
    here = batch(tmp_path, "here", *network, *seen_here, *(["--split", "0"] if seams == "exact" else parts))
    assert here.wait(200) == 0
    there, worker = at_work(tmp_path, *network, *seen_there, *parts)
    worker.kill()
    _, said = there.communicate(timeout=200)
    assert there.returncode == 0, said
    for folder in ("there", "rain-there"):
        for name in ("a.mkv", "b.mkv"):
            found = packets(tmp_path / folder / name)
            expected = packets(tmp_path / folder.replace("there", "here") / name)
            assert len(expected) == 40
            assert [(pts, data) for _, pts, _, data in found] == [(pts, data) for _, pts, _, data in expected]
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == ["a.mkv", "b.mkv"]


def test_no_cluster_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make_clip(tmp_path / "in/a.mp4", frames=4)
    failed = batch(tmp_path, "out", "--ray", "127.0.0.1:1")
    _, said = failed.communicate(timeout=110)
    assert failed.returncode == 1
    assert said.splitlines()[-1].startswith("derain: --ray 127.0.0.1:1: no cluster answers")
    assert "Traceback" not in said
