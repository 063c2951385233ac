"""`derain run` as a user sees it: what comes out, what is said, and that nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from tests.clips import make_clip
from tests.facts import facts

pytestmark = pytest.mark.usefixtures("sockets")


def command(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "pipeline", "run", *map(str, args)]


def derain(*args: str | Path, **settings: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*args), capture_output=True, text=True, timeout=120, **settings)  # type: ignore[call-overload]
    assert "Traceback" not in done.stderr, done.stderr
    return done  # type: ignore[no-any-return]


def nothing_left(tmp_path: Path) -> bool:
    """No stage still runs for this test and neither sockets nor half files remain."""
    sockets = os.environ["TMPDIR"]
    stages = [process.pid for process in psutil.process_iter() if _belongs(process, sockets)]
    hidden = [p.name for p in tmp_path.rglob("*") if p.name.startswith(".") and p.name.endswith(".part")]
    return not stages and not hidden and not os.listdir(sockets)


def _belongs(process: psutil.Process, sockets: str) -> bool:
    try:
        return "pipeline.stage" in " ".join(process.cmdline()) and process.environ().get("TMPDIR") == sockets
    except psutil.Error:
        return False


def test_identity_keeps_every_frame_and_time(tmp_path: Path) -> None:
    src, dst = tmp_path / "in.mp4", tmp_path / "out.mkv"
    pts = [10, 12, 17, 18, 30, 31]
    make_clip(src, pts=pts, time_base=Fraction(1, 25))
    done = derain(src, dst, "--model", "identity", "--codec", "ffv1", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["status"], result["frames_in"], result["frames_out"]) == ("done", 6, 6)
    assert set(result["stages"]) == {"decode", "derain", "encode"}
    assert facts(dst).pts == [Fraction(n, 25) for n in pts]
    assert nothing_left(tmp_path)


def test_a_network_runs_and_tells_its_resets(tmp_path: Path, tiny: Path) -> None:
    src, dst = tmp_path / "in.mp4", tmp_path / "out.mp4"
    make_clip(src, frames=8, width=66, height=50)
    done = derain(src, dst, "--model", tiny, "--json", "--threads", "1")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["resets"] == {"start": 1}
    assert result["runtime"] in ("openvino_bf16", "openvino", "eager")
    assert result["frames_out"] == 8


def test_pictures_in_and_out_keep_their_names(tmp_path: Path, tiny: Path) -> None:
    src, dst = tmp_path / "in", tmp_path / "out"
    src.mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(src / name), np.random.default_rng(0).integers(0, 255, (40, 56, 3), dtype=np.uint8))
    assert derain(src, dst, "--model", tiny, "--threads", "1").returncode == 0
    assert sorted(p.name for p in dst.iterdir()) == ["a.png", "b.png"]
    assert cv2.imread(str(dst / "a.png")).shape == (40, 56, 3)


def test_a_cut_resets_the_membranes(tmp_path: Path, tiny: Path) -> None:
    src, frames = tmp_path / "in", []
    src.mkdir()
    rng = np.random.default_rng(1)
    for shot in range(2):
        scene = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (96, 64))
        frames += [np.roll(scene if shot == 0 else 255 - scene, i, axis=1) for i in range(4)]
    for i, frame in enumerate(frames):
        cv2.imwrite(str(src / f"{i}.png"), frame)
    options = ("--model", tiny, "--threads", "1", "--json", "--overwrite")
    cut = json.loads(derain(src, tmp_path / "out", *options).stdout)
    assert cut["resets"] == {"start": 1, "scene_cut": 1}
    uncut = json.loads(derain(src, tmp_path / "out", *options, "--no-scene-cut").stdout)
    assert uncut["resets"] == {"start": 1}


@pytest.mark.parametrize(
    ("make", "code", "says"),
    [
        (lambda p: None, 1, "no such file"),
        (lambda p: p.write_bytes(b""), 1, "empty"),
        (lambda p: p.write_bytes(b"this is no video at all" * 99), 1, "in.mp4"),
        (lambda p: (make_clip(p, frames=12), p.write_bytes(p.read_bytes()[:-600])), 1, "in.mp4"),
    ],
    ids=["missing", "empty", "text", "truncated"],
)
def test_a_bad_source_is_one_line(tmp_path: Path, make: object, code: int, says: str) -> None:
    src, dst = tmp_path / "in.mp4", tmp_path / "out.mp4"
    make(src)  # type: ignore[operator]
    done = derain(src, dst, "--model", "identity")
    assert done.returncode == code
    assert len(done.stderr.strip().splitlines()) == 1
    assert says in done.stderr
    assert not dst.exists()
    assert nothing_left(tmp_path)


def test_wrong_usage(tmp_path: Path) -> None:
    src, dst = tmp_path / "in.mp4", tmp_path / "out.mp4"
    make_clip(src, frames=2)
    for options, says in [
        (("--model", "strem"), "--model strem"),
        (("--model", "identity", "--codec", "h266"), "h266"),
        (("--model", "identity", "--crf", "99"), "--crf 99"),
    ]:
        done = derain(src, dst, *options)
        assert done.returncode == 2, done.stderr
        assert says in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert derain(src, src, "--model", "identity", "--overwrite").returncode == 2
    assert not dst.exists()
    assert nothing_left(tmp_path)


def test_destinations_that_cannot_be(tmp_path: Path) -> None:
    src, dst = tmp_path / "in.mp4", tmp_path / "out.mp4"
    make_clip(src, frames=2)
    dst.write_text("mine")
    kept = derain(src, dst, "--model", "identity")
    assert kept.returncode == 1
    assert "--overwrite" in kept.stderr
    assert dst.read_text() == "mine"
    assert derain(src, tmp_path / "no/where/out.mp4", "--model", "identity").returncode == 1
    assert nothing_left(tmp_path)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    """A file-size limit stands for the full disk: the same error path, and a test can set it without being root."""
    import resource

    src, dst = tmp_path / "in.mp4", tmp_path / "out.mkv"
    make_clip(src, frames=40, width=320, height=240)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    done = derain(src, dst, "--model", "identity", "--codec", "ffv1", preexec_fn=limit)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(dst) in done.stderr
    assert not dst.exists()
    assert nothing_left(tmp_path)


def start_long(tmp_path: Path) -> tuple[subprocess.Popen[str], dict[str, psutil.Process]]:
    """A job that will take a while, once all its stages run."""
    src, dst = tmp_path / "in.mp4", tmp_path / "out.mp4"
    make_clip(src, frames=100, width=960, height=540)
    job = subprocess.Popen(
        command(src, dst, "--model", "identity", "--preset", "veryslow"), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        children = psutil.Process(job.pid).children()
        stages = {p.cmdline()[-1]: p for p in children if p.is_running() and p.cmdline()}
        if len(stages) == 3 and list(tmp_path.glob(".*.part")):
            return job, stages
        time.sleep(0.05)
    job.kill()
    raise AssertionError("the job did not begin")


@pytest.mark.parametrize("victim", ["decode", "derain", "encode"])
def test_a_killed_stage_ends_the_job_with_its_name(tmp_path: Path, victim: str) -> None:
    job, stages = start_long(tmp_path)
    stages[victim].kill()
    killed = time.monotonic()
    _, said = job.communicate(timeout=30)
    assert time.monotonic() - killed < 15  # 5 s are promised; the rest is for a busy machine
    assert job.returncode == 1
    assert f"the {victim} stage was killed by SIGKILL" in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out.mp4").exists()
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_job_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    job, _ = start_long(tmp_path)
    job.send_signal(number)
    _, said = job.communicate(timeout=30)
    assert job.returncode == 130
    assert said.strip() == "derain: interrupted"
    assert nothing_left(tmp_path)


def test_stages_do_not_outlive_a_killed_front(tmp_path: Path) -> None:
    job, stages = start_long(tmp_path)
    job.kill()
    job.wait()
    _, alive = psutil.wait_procs(list(stages.values()), timeout=15)
    assert not alive
    assert not list(tmp_path.glob(".*.part"))
