"""Whatever is killed, hangs or is hung up on: the job ends in time and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.clips import make_clip

pytestmark = pytest.mark.alone

SLOW = ("--preset", "slower")
"""With the clip's length five seconds of work on a fast machine, so that there is a middle to be held in. With 140
frames the job was at its end when it was hung up on, now and then, and rightly ended well."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "in.mp4", frames=420, width=960, height=540)


class Job:
    """A `derain run` whose encode stage is held (SIGSTOP) once it writes, so that it is always in its middle."""

    def __init__(self, clip: Path, folder: Path) -> None:
        self.folder, self.sockets = folder, folder / "s"
        self.sockets.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "run", str(clip), str(folder / "out.mkv"), "--model", "identity", *SLOW],
            env=os.environ | {"TMPDIR": str(self.sockets)},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.wait_for(lambda: len(self.find()) == 3 and bool(self.half_files()))
        self.stages = self.find()
        self.stages["encode"].suspend()

    def find(self) -> dict[str, psutil.Process]:
        try:
            return {p.cmdline()[-1]: p for p in psutil.Process(self.process.pid).children() if p.cmdline()}
        except psutil.Error:
            return {}

    def wait_for(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            assert self.process.poll() is None or not self.find(), "the job ended too soon"
            time.sleep(0.02)

    def half_files(self) -> list[Path]:
        return list(self.folder.glob(".*.part"))

    def ends(self, seconds: float) -> str:
        """What it says at its end, which comes within `seconds`."""
        began = time.monotonic()
        _, said = self.process.communicate(timeout=60)
        assert time.monotonic() - began < seconds
        return said

    def left(self) -> list[str]:
        """Processes and files that should not be there."""
        alive = [name for name, p in self.stages.items() if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
        return alive + [path.name for path in self.folder.rglob("*") if path != self.sockets]


@pytest.fixture
def job(clip: Path, tmp_path: Path) -> Iterator[Job]:
    job = Job(clip, tmp_path)
    yield job
    for process in (job.process, *job.stages.values()):
        with suppress(psutil.Error):
            process.kill()
    job.process.communicate()


@pytest.mark.parametrize("victim", ["decode", "derain"])
def test_a_killed_stage_ends_the_job_even_when_another_hangs(job: Job, victim: str) -> None:
    job.stages[victim].kill()
    said = job.ends(20)  # 5 s are promised; the rest is for a busy machine
    assert job.process.returncode == 1
    assert said.startswith(f"derain: the {victim} stage was killed by SIGKILL")
    assert said.count("\n") == 1
    assert job.left() == []


def test_a_crashed_stage_is_named_with_its_signal(job: Job) -> None:
    job.stages["encode"].send_signal(signal.SIGSEGV)
    job.stages["encode"].resume()
    assert "the encode stage was killed by SIGSEGV: nothing was written" in job.ends(20)
    assert job.left() == []


def test_a_closed_terminal_ends_the_job_cleanly(job: Job) -> None:
    job.stages["encode"].resume()
    os.killpg(job.process.pid, signal.SIGHUP)
    assert job.ends(20) == "derain: interrupted\n"
    assert job.process.returncode == 130
    assert job.left() == []


def test_ctrl_c_reaches_everyone_and_is_one_line(job: Job) -> None:
    job.stages["encode"].resume()
    os.killpg(job.process.pid, signal.SIGINT)
    assert job.ends(20) == "derain: interrupted\n"
    assert job.process.returncode == 130
    assert job.left() == []


def test_a_killed_front_takes_its_stages_sockets_and_half_file_with_it(job: Job) -> None:
    job.stages["encode"].resume()
    job.process.kill()
    job.process.wait()
    _, alive = psutil.wait_procs(job.stages.values(), timeout=10)
    assert not alive
    assert job.left() == []


def test_when_all_are_killed_at_once_the_next_job_clears_up(job: Job, clip: Path) -> None:
    for process in (job.process, *job.stages.values()):
        process.kill()
    job.process.wait()
    psutil.wait_procs(job.stages.values(), timeout=10)
    assert job.half_files()
    assert list(job.sockets.iterdir())
    again = subprocess.run(
        [sys.executable, "-m", "pipeline", "run", str(clip), str(job.folder / "out.mkv"), "--model", "identity"],
        env=os.environ | {"TMPDIR": str(job.sockets)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert again.returncode == 0, again.stderr
    assert job.left() == ["out.mkv"]
