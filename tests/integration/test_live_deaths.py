"""Processes of a live stream that die or hang, and destinations that do not take what comes: what goes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live_camera import Camera
from tests.live_run import LiveRun, frames_of, pts_of, rising, wait_for

pytestmark = [
    pytest.mark.alone,
    pytest.mark.timeout(400),
    pytest.mark.skipif(sys.platform != "linux", reason="live streams need Linux"),
]


def test_any_stage_may_die(tmp_path: Path) -> None:
    """kill -9 of each stage in turn: another takes its place, the recording goes on in the same file."""
    film = tmp_path / "film.mkv"
    with Camera() as camera, LiveRun(tmp_path, camera.url, [str(film)]) as run:
        run.running()
        for stage in ("decode", "derain", "encode"):
            killed = run.stage(stage)
            os.kill(killed, signal.SIGKILL)
            run.wait(lambda status, stage=stage: status.restarts.get(stage) == 1)
            run.more()
            assert run.stage(stage) != killed
        status = run.stop()
    assert status.restarts == {"decode": 1, "derain": 1, "encode": 1}
    assert rising(pts_of(film))
    assert [path.name for path in tmp_path.glob("film*")] == ["film.mkv"]


@pytest.mark.parametrize("stage", ["decode", "derain", "encode", "output"])
def test_a_stage_that_somebody_else_asks_to_end_is_replaced(tmp_path: Path, stage: str) -> None:
    """SIGTERM, which a stage obeys: it was taken for the end that was meant. Nothing was written from then on, or the
    stream was over, with exit code 0 and not a word."""
    ring = tmp_path / "film-%H%M%S.mkv"
    with Camera() as camera, LiveRun(tmp_path, camera.url, [str(ring)], gop=0.5) as run:
        run.running()
        run.more(30)
        run.kill(stage, signal.SIGTERM)
        run.wait(lambda status: sum(status.restarts.values()) >= 1)
        before = {path.name for path in tmp_path.glob("film-*")}
        run.more(30)
        sizes = {path: path.stat().st_size for path in tmp_path.glob("film-*")}
        run.wait(lambda _: any(path.stat().st_size > sizes.get(path, 0) for path in tmp_path.glob("film-*")))
        status = run.stop()
    names = {"output": "output0"}
    assert status.restarts.get(names.get(stage, stage)) == 1
    assert status.destinations[str(ring)] == "closed"
    assert before
    assert all(frames_of(path) for path in tmp_path.glob("film-*"))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["decode", "encode"])
def test_a_stage_that_hangs_is_replaced(tmp_path: Path, stage: str) -> None:
    """SIGSTOP: it is there, and silent. The front kills it and starts another; until then the state was `running`, at
    no frames a second, though none had come for longer than `stall_timeout`."""
    film = tmp_path / "film.mkv"
    with Camera() as camera, LiveRun(tmp_path, camera.url, [str(film)], stall_timeout=2.0) as run:
        run.running()
        os.kill(run.stage(stage), signal.SIGSTOP)
        run.wait(lambda status: status.state == "lost" and not status.restarts)
        assert run.status.error == f"the {stage} stage stands still"
        run.wait(lambda status: status.restarts.get(stage) == 1)
        run.wait(lambda status: status.state == "running")
        run.more()
        run.stop()
    assert rising(pts_of(film))


def test_an_output_may_die(tmp_path: Path) -> None:
    """What it had written stays playable, and the recording goes on in a second file."""
    first, second = tmp_path / "film.mkv", tmp_path / "film-2.mkv"
    with Camera() as camera, LiveRun(tmp_path, camera.url, [str(first)], gop=0.5) as run:
        run.running()
        run.more(50)
        run.kill("output")
        run.wait(lambda _: second.exists())
        run.more()
        run.stop()
    assert frames_of(first) > 0
    assert frames_of(second) > 0


def test_a_sink_that_is_slow_or_gone_holds_nobody_up(tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    with socket.socket() as deaf, socket.socket() as gone, Camera(128, 96) as camera:
        for listener in (deaf, gone):
            listener.bind(("127.0.0.1", 0))
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.listen(8)
        to = [f"tcp://127.0.0.1:{listener.getsockname()[1]}" for listener in (deaf, gone)]
        with LiveRun(tmp_path, camera.url, [*to, str(film)], codec="libx264", crf=1, gop=0.5) as run:
            run.running()
            run.more(50)
            run.wait(lambda status: status.sink_dropped[to[1]] > 10)
            assert run.status.destinations[to[1]].startswith("waiting: ")
            status = run.stop()
    assert status.sink_dropped[str(film)] == 0
    assert frames_of(film) == status.frames_written + status.frames_filled


def test_a_disk_that_is_full_holds_nobody_up(tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    full = "/dev/full"
    (tmp_path / "full.ts").symlink_to(full)
    order = {"overwrite": True}
    with Camera() as camera, LiveRun(tmp_path, camera.url, [str(tmp_path / "full.ts"), str(film)], **order) as run:
        run.running()
        run.wait(lambda status: "No space left" in status.destinations[str(tmp_path / "full.ts")])
        run.more(20)
        status = run.stop()
    assert status.sink_dropped[str(film)] == 0
    assert frames_of(film) == status.frames_written + status.frames_filled


def test_the_front_does_not_outlive_who_started_it(tmp_path: Path) -> None:
    """kill -9 of the parent: the stream drains and ends, and its file is closed."""
    film = tmp_path / "film.mkv"
    code = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-m', 'pipeline.live'], stdin=subprocess.PIPE);"
        "p.stdin.write(sys.stdin.buffer.read()); p.stdin.close(); print(p.pid, flush=True); p.wait()"
    )
    from pipeline.live_status import LiveOrder, write_order

    with Camera() as camera:
        order = LiveOrder(id="a", source=camera.url, destinations=[str(film)], model="identity", preset="ultrafast")
        parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(write_order(order))
        parent.stdin.close()
        child = int(parent.stdout.readline())
        wait_for(lambda: film.exists() and film.stat().st_size > 3000)
        parent.kill()
        parent.wait()
        wait_for(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text())
    assert frames_of(film) > 0
