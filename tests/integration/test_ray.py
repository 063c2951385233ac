"""`derain batch --ray local`: the packets of the local run, and a killed worker costs nothing but its part."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import av
import psutil
import pytest

from tests.clips import B_FRAMES, Sound, make_clip

pytest.importorskip("ray", reason="Ray is not installed: pip install 'derain[ray]'")

ARGUMENTS = ("--model", "identity", "--preset", "web", "--split", "0.8", "--quiet")


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "RAY_USAGE_STATS_ENABLED": "0"}


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


def at_work(folder: Path) -> tuple[subprocess.Popen[str], psutil.Process]:
    """A batch on a cluster of its own, and a worker that is at a part. Ray gives its own start no more than 30 s, which
    a busy machine may not make."""
    said = ""
    for _ in range(3):
        job = batch(folder, "there", "--ray", "local")
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
def test_the_same_packets_even_when_a_worker_is_killed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    options = B_FRAMES | {"g": "10"}
    make_clip(tmp_path / "in/long.mp4", frames=140, width=480, height=272, options=options, sound=[Sound(seconds=5)])
    here = batch(tmp_path, "here")
    assert here.wait(100) == 0
    there, worker = at_work(tmp_path)
    worker.kill()
    _, said = there.communicate(timeout=200)
    assert there.returncode == 0, said
    assert packets(tmp_path / "there/long.mp4") == packets(tmp_path / "here/long.mp4")
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["long.mp4"]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_exact_parts_are_the_frames_of_the_local_run(tmp_path: Path, tiny: Path) -> None:
    """With a network: its membranes go from part to part over the shared storage, whichever worker makes them."""
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.mp4"):
        make_clip(tmp_path / "in" / name, frames=50, width=96, height=64, options=B_FRAMES | {"g": "10"})
    network = ("--model", str(tiny), "--runtime", "eager", "--threads", "1", "--codec", "ffv1", "--container", "mkv")
    whole = [sys.executable, "-m", "pipeline", "batch", "in", "whole", *network, "--quiet"]
    assert subprocess.run(whole, cwd=tmp_path, env=environment(), timeout=100).returncode == 0
    for _ in range(3):
        there = batch(tmp_path, "there", *network, "--ray", "local", "--split", "0.4", "--exact")
        _, said = there.communicate(timeout=200)
        if "Ray did not start" not in said:
            break
    assert there.returncode == 0, said
    for name in ("a.mkv", "b.mkv"):
        found, expected = packets(tmp_path / "there" / name), packets(tmp_path / "whole" / name)
        assert len(expected) == 50
        assert [(pts, data) for _, pts, _, data in found] == [(pts, data) for _, pts, _, data in expected]


def test_no_cluster_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make_clip(tmp_path / "in/a.mp4", frames=4)
    failed = batch(tmp_path, "out", "--ray", "127.0.0.1:1")
    _, said = failed.communicate(timeout=110)
    assert failed.returncode == 1
    assert said.splitlines()[-1].startswith("derain: --ray 127.0.0.1:1: no cluster answers")
    assert "Traceback" not in said
