"""Live sources that go, come back, send nothing of use, or more than can be derained."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import av
import pytest

from tests.live_camera import Camera
from tests.live_run import PATIENCE, LiveRun, accounted, frames_of, pts_of, rising

pytestmark = [
    pytest.mark.alone,
    pytest.mark.timeout(400),
    pytest.mark.skipif(sys.platform != "linux", reason="live streams need Linux"),
]


def test_a_camera_that_goes_and_comes_back(tmp_path: Path) -> None:
    """One reset with its reason, one clock, a frozen picture meanwhile; and another size does not end the file."""
    film = tmp_path / "film.mkv"
    order = {"model": "stream-nano", "runtime": "eager", "threads": 1, "scene_cuts": False}
    with Camera() as camera, LiveRun(tmp_path, camera.url, [str(film)], **order) as run:
        run.running()
        camera.away(True)
        run.wait(lambda status: status.state == "lost")
        run.wait(lambda status: status.frames_filled >= 3)
        camera.size = (128, 96)
        camera.away(False)
        run.wait(lambda status: status.state == "running" and status.width == 128)
        run.more()
        status = run.stop()
    assert status.state == "stopped"
    assert (status.reconnects, status.resets) == (1, {"start": 1, "closed": 1})
    assert accounted(status)
    assert status.firing_rate is None or 0 < status.firing_rate < 1
    assert rising(pts_of(film))
    assert frames_of(film) == status.frames_written + status.frames_filled
    with av.open(str(film)) as container:
        assert container.streams.video[0].width == 96


def test_a_camera_that_goes_on_but_sends_nothing_of_use(tmp_path: Path) -> None:
    """It holds the connection, and nothing comes, or noise: lost, tried again, found again."""
    with Camera() as camera, LiveRun(tmp_path, camera.url, stall_timeout=1.5, open_timeout=2.0) as run:
        run.running()
        for times, how in enumerate(("stalled", "garbage"), 1):
            setattr(camera, how, True)
            if how == "garbage":
                camera.cut()
            run.wait(lambda status: status.state == "lost" and status.error is not None)
            before = camera.connections
            run.wait(lambda _, before=before: camera.connections > before)
            setattr(camera, how, False)
            run.wait(lambda status, times=times: status.state == "running" and status.reconnects >= times)
            run.more()
        assert accounted(run.stop())


def test_a_camera_that_changes_its_codec_is_opened_again(tmp_path: Path) -> None:
    """Packets went on to come, so nobody noticed that none could be decoded but who watches for hung processes: the
    state was `running` for seconds, then the process was replaced."""
    with Camera(sound=True) as camera, LiveRun(tmp_path, camera.url, stall_timeout=1.5) as run:
        run.running()
        camera.codec = "mpeg2video"
        run.wait(lambda status: status.state == "lost" and "perhaps the codec has changed" in (status.error or ""))
        run.wait(lambda status: status.state == "running" and status.reconnects == 1)
        run.more()
        status = run.stop()
    assert status.restarts == {}
    assert accounted(status)


def test_many_connections_leave_nothing_behind(tmp_path: Path) -> None:
    """Cut off again and again: no file or thread more than after the first times."""
    with Camera() as camera, LiveRun(tmp_path, camera.url) as run:
        run.running()
        held: list[tuple[int, int]] = []
        for times in range(1, 13):
            camera.cut()
            run.wait(lambda status, times=times: status.reconnects == times and status.state == "running")
            process = Path(f"/proc/{run.stage('decode')}")
            held.append((len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))))
        status = run.stop()
    assert accounted(status)
    assert status.reconnects == 12
    assert max(files for files, _ in held[6:]) <= max(files for files, _ in held[:6])
    assert max(threads for _, threads in held[6:]) <= max(threads for _, threads in held[:6])


def test_on_loss_stop_ends_the_run(tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    with Camera() as camera, LiveRun(tmp_path, camera.url, [str(film)], on_loss="stop") as run:
        run.running()
        camera.away(True)
        assert run.process.wait(PATIENCE) == 0
        run.hear()
        assert run.status.state == "stopped"
        assert frames_of(film) == run.status.frames_written + run.status.frames_filled


def test_overload_is_bounded_and_counted(tmp_path: Path) -> None:
    """More frames than any processor derains: the newest wins, ages stay near what one frame takes."""
    source = "lavfi:testsrc2=size=256x144:rate=100"
    with LiveRun(tmp_path, source, model="stream", runtime="eager", threads=1) as run:
        run.running()
        began, before = time.monotonic(), run.status.frames_written
        run.more(20)
        took = (time.monotonic() - began) / (run.status.frames_written - before)
        status = run.stop()
    assert accounted(status)
    assert status.dropped["overload"] > 0
    assert status.age_ms_p50 is not None
    assert status.age_ms_p50 < 5 * took * 1000
    assert status.resets.get("pts_jump", 0) == 0  # frames that are left out are no jump


def test_frames_without_time_are_passed_on(tmp_path: Path) -> None:
    source = "lavfi:testsrc2=size=256x144:rate=100"
    order = {"model": "stream", "runtime": "eager", "threads": 1, "on_overload": "passthrough"}
    with LiveRun(tmp_path, source, **order) as run:
        run.running()
        run.wait(lambda status: status.frames_passed > 5)
        status = run.stop()
    assert accounted(status)
    assert status.frames_passed < status.frames_written
