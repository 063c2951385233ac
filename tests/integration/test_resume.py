"""`derain run` killed in its middle and run again: every frame once, what is done stays done, nothing is left over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import psutil
import pytest

from tests.clips import B_FRAMES, make_clip


@pytest.fixture(autouse=True)
def _nothing_left(sockets: Path) -> Iterator[None]:
    """Whoever was killed, the last run of a test clears up."""
    yield
    assert not list(sockets.iterdir())


FRAMES = 140


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "in.mp4"
    return make_clip(path, frames=FRAMES, width=640, height=360, options=B_FRAMES | {"g": "25"})


def start(clip: Path, destination: Path, *more: str, model: str = "identity") -> subprocess.Popen[str]:
    options = ("--model", model, "--segment", "0.4", "--codec", "ffv1", *more)
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", "run", str(clip), str(destination), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition: Callable[[], bool], job: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        assert job.poll() is None, f"it ended too soon: {job.communicate()}"
        time.sleep(0.005)


def segments(destination: Path) -> list[str]:
    work = destination.parent / f".{destination.name}.derain"
    return sorted(path.name for path in work.glob("*.segment"))


def frames(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as held:
        return [(Fraction(f.pts * f.time_base), f.to_ndarray().tobytes()) for f in held.decode(video=0)]


def finish(clip: Path, destination: Path) -> dict[str, object]:
    said, complained = start(clip, destination, "--json").communicate(timeout=90)
    assert said, complained
    result: dict[str, object] = json.loads(said)
    assert result["status"] == "done", result
    return result


def test_killed_again_and_again(clip: Path, tmp_path: Path) -> None:
    destination = tmp_path / "out.mkv"
    for least, kill in ((1, os.kill), (4, os.killpg)):  # the front; everyone
        job = start(clip, destination)
        wait_for(lambda least=least: len(segments(destination)) >= least, job)  # type: ignore[misc]
        stages = psutil.Process(job.pid).children()
        kill(job.pid, signal.SIGKILL)
        job.communicate(timeout=30)
        psutil.wait_procs(stages, timeout=15)
        assert not destination.exists()
    result = finish(clip, destination)
    assert result["frames_in"] == result["frames_out"] == FRAMES
    assert int(str(result["resumed"])) >= 40
    assert frames(destination) == frames(clip)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


def test_both_films_go_on(tmp_path: Path, tiny: Path) -> None:
    """With --save-rain nothing was kept of a run that was killed, however long it had been at work.

    The membranes with which the next segment begins are written while the one before is finished; killed between the
    two, a run goes on one segment earlier, so both are waited for."""
    clip = make_clip(tmp_path / "in.mp4", frames=60, options=B_FRAMES | {"g": "25"})
    (tmp_path / "whole").mkdir()
    (tmp_path / "bits").mkdir()
    films = ("out.mkv", "rain.mkv")
    options = ("--runtime", "eager", "--threads", "1", "--save-rain")
    once = start(
        clip, tmp_path / "whole/out.mkv", *options, f"{tmp_path}/whole/rain.mkv", "--no-resume", model=str(tiny)
    )
    assert once.wait(90) == 0, once.communicate()
    again = (*options, f"{tmp_path}/bits/rain.mkv")
    for least, kill in ((1, os.kill), (3, os.killpg)):  # the front; everyone
        job = start(clip, tmp_path / "bits/out.mkv", *again, model=str(tiny))
        membranes = tmp_path / "bits" / f".out.mkv.derain/{least:06d}.membranes"

        def kept(least: int = least, membranes: Path = membranes) -> bool:
            return membranes.exists() and all(len(segments(tmp_path / "bits" / film)) >= least for film in films)

        wait_for(kept, job)
        stages = psutil.Process(job.pid).children()
        kill(job.pid, signal.SIGKILL)
        job.communicate(timeout=30)
        psutil.wait_procs(stages, timeout=15)
    said, complained = start(clip, tmp_path / "bits/out.mkv", *again, "--json", model=str(tiny)).communicate(timeout=90)
    assert said, complained
    assert json.loads(said)["resumed"] >= 30, said
    for film in films:
        assert frames(tmp_path / "bits" / film) == frames(tmp_path / "whole" / film)
    assert sorted(path.name for path in (tmp_path / "bits").iterdir()) == list(films)


def test_an_interrupted_run_says_what_it_keeps(clip: Path, tmp_path: Path) -> None:
    destination = tmp_path / "out.mkv"
    job = start(clip, destination)
    wait_for(lambda: len(segments(destination)) >= 2, job)
    job.send_signal(signal.SIGINT)
    _, said = job.communicate(timeout=60)
    assert job.returncode == 130
    assert said.startswith("derain: interrupted; ")
    assert f"are kept in {tmp_path}/.out.mkv.derain" in said
    assert len(said.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == [".out.mkv.derain"]


def test_without_resume_nothing_is_kept(clip: Path, tmp_path: Path) -> None:
    destination = tmp_path / "out.mkv"
    job = start(clip, destination, "--no-resume")
    wait_for(lambda: any(path.stat().st_size > 50_000 for path in tmp_path.glob(".*.part")), job)
    job.send_signal(signal.SIGINT)
    assert job.communicate(timeout=60)[1] == "derain: interrupted\n"
    assert not list(tmp_path.iterdir())


def test_a_full_disk_keeps_what_is_done(clip: Path, tmp_path: Path) -> None:
    """A file-size limit that the last, longer joined file would pass stands for the full disk."""
    import resource

    destination = tmp_path / "out.mkv"
    size = sum(len(data) for _, data in frames(clip)) // 20

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    command = [sys.executable, "-m", "pipeline", "run", str(clip), str(destination)]
    options = ["--model", "identity", "--segment", "0.4", "--codec", "ffv1"]
    full = subprocess.run(command + options, capture_output=True, text=True, timeout=90, preexec_fn=limit)
    assert full.returncode == 1
    assert "--restart" in full.stderr and len(full.stderr.strip().splitlines()) == 1
    assert segments(destination)
    assert finish(clip, destination)["resumed"]
    assert frames(destination) == frames(clip)
