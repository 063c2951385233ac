"""Live streams with real processes, sockets and files: what is counted, what is lost, and what goes on.

The camera is one of ours (`tests.live_camera`); real servers are in `test_live_servers.py`. Nothing here is timed: the
machine may be busy. What must hold is what is counted, what files hold, and that things come at all.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.live_camera import Camera
from tests.live_run import PATIENCE, LiveRun, accounted, frames_of, pts_of

pytestmark = [pytest.mark.timeout(400), pytest.mark.skipif(sys.platform != "linux", reason="live streams need Linux")]


def rising(times: list[float]) -> bool:
    return all(later > earlier for earlier, later in itertools.pairwise(times))


def derain(*arguments: str, **settings: Any) -> subprocess.Popen[bytes]:
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | settings
    return subprocess.Popen([sys.executable, "-m", "pipeline", "run", *arguments], **settings)


def test_a_run_of_some_seconds(tmp_path: Path) -> None:
    """Several sinks, sound, --duration: every frame is accounted for, every file is closed, exit code 0."""
    film, playlist, parts = tmp_path / "film.mkv", tmp_path / "hls" / "cam.m3u8", tmp_path / "part-%H%M%S.ts"
    with Camera(sound=True) as camera:
        run = derain(
            *(camera.url, str(film), str(playlist), str(parts), "--model", "identity", "--preset", "ultrafast"),
            *("--duration", "5", "--gop", "1", "--segment-time", "2", "--json", "--wait"),
        )
        said, errors = run.communicate(timeout=PATIENCE * 2)
    assert run.returncode == 0, errors
    result = json.loads(said)
    assert result["status"] == "done"
    assert result["frames_in"] == result["frames_out"] + sum(result["dropped"].values())
    assert 0 < result["age_ms"]["p50"] <= result["age_ms"]["p99"]
    assert result["reconnects"] == 0
    assert frames_of(film) == result["frames_out"] + result["frames_filled"]
    assert rising(pts_of(film))
    picture, sound = pts_of(film), pts_of(film, "audio")
    assert rising(sound)
    assert abs(sound[0] - picture[0]) < 1.0
    assert -2.0 < sound[-1] - picture[-1] < 5.0  # what is heard is ahead of what is still being derained
    segments = sorted(tmp_path.glob("part-*.ts"))
    assert len(segments) >= 2
    assert sum(frames_of(segment) for segment in segments) == frames_of(film)
    assert frames_of(playlist) == frames_of(film)


def test_from_standard_input_to_standard_output(tmp_path: Path) -> None:
    """`derain run - -` ends with its input."""
    source = tmp_path / "in.ts"
    with av.open(str(source), "w") as out:
        video: Any = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": "5"})
        video.width, video.height = 96, 64
        for _ in range(75):
            out.mux(video.encode(av.VideoFrame(96, 64, "yuv420p")))
        out.mux(video.encode(None))
    with open(source, "rb") as given:
        run = derain("-", "-", "--model", "identity", "--preset", "ultrafast", stdin=given)
        said, errors = run.communicate(timeout=PATIENCE * 2)
    assert run.returncode == 0, errors
    (tmp_path / "out.ts").write_bytes(said)
    assert 1 <= frames_of(tmp_path / "out.ts") <= 75
    assert b"of 75 frames" in errors


def test_ctrl_c_closes_everything(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    with Camera() as camera:
        run = derain(camera.url, str(film), "--model", "identity", "--preset", "ultrafast", "--json", "--wait")
        wait_for(lambda: film.exists() and film.stat().st_size > 3000)
        run.send_signal(signal.SIGINT)
        said, errors = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, errors
    result = json.loads(said)
    assert frames_of(film) == result["frames_out"] + result["frames_filled"]


def wait_for(reached: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if reached():
            return
        time.sleep(0.1)
    raise AssertionError("it never came")


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


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["decode", "encode"])
def test_a_stage_that_hangs_is_replaced(tmp_path: Path, stage: str) -> None:
    """SIGSTOP: it is there, and silent. The front kills it and starts another."""
    film = tmp_path / "film.mkv"
    with Camera() as camera, LiveRun(tmp_path, camera.url, [str(film)]) as run:
        run.running()
        os.kill(run.stage(stage), signal.SIGSTOP)
        run.wait(lambda status: status.restarts.get(stage) == 1)
        run.wait(lambda status: status.state == "running")
        run.more()
        run.stop()
    assert rising(pts_of(film))


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


def test_on_loss_stop_ends_the_run(tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    with Camera() as camera, LiveRun(tmp_path, camera.url, [str(film)], on_loss="stop") as run:
        run.running()
        camera.away(True)
        assert run.process.wait(PATIENCE) == 0
        run.hear()
        assert run.status.state == "stopped"
        assert frames_of(film) == run.status.frames_written + run.status.frames_filled


def test_a_source_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """And the password in its address is nowhere: not in the error, not in the JSON, not in `ps`."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"rtsp://admin:hunter2@127.0.0.1:{nobody.getsockname()[1]}/cam"
        run = derain(address, str(tmp_path / "a.mkv"), "--model", "identity", "--json")
        lines: set[bytes] = set()
        while run.poll() is None:
            lines.add(Path(f"/proc/{run.pid}/cmdline").read_bytes())
            time.sleep(0.05)
        said, errors = run.communicate(timeout=PATIENCE)
    assert run.returncode == 1
    assert errors.count(b"\n") == 1
    assert b"nobody listens there" in errors
    assert json.loads(said)["status"] == "failed"
    assert b"hunter2" not in said + errors
    assert any(b"rtsp://***@127.0.0.1" in line for line in lines)
    assert b"hunter2" not in max(lines, key=lambda line: b"***" in line)


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


def test_the_preview_shows_pairs(tmp_path: Path) -> None:
    from pipeline.preview_feed import PreviewReader

    url = f"ipc://{tmp_path}/preview"
    order = {"preview": url, "preview_width": 64, "preview_fps": 25.0}
    with Camera(128, 96) as camera, LiveRun(tmp_path, camera.url, **order) as run:
        run.running()
        with PreviewReader(url) as jpeg, PreviewReader(url, "raw") as raw:
            pair, planes = jpeg.read(PATIENCE), raw.read(PATIENCE)
            later = jpeg.read(PATIENCE)
    assert pair is not None and planes is not None and later is not None
    assert (pair.header.width, pair.header.height) == (64, 48)
    assert pair.before[:3] == pair.after[:3] == b"\xff\xd8\xff"
    assert len(planes.before) == len(planes.after) == 64 * 48 * 3 // 2
    assert later.header.number > pair.header.number
    assert not pair.header.derained  # identity
    assert 40 < np.frombuffer(planes.before, np.uint8)[: 64 * 48].mean() < 220


def test_mpegts_over_udp(tmp_path: Path) -> None:
    """In and out: a run that reads what another sends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"udp://127.0.0.1:{port}"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with Camera() as camera, LiveRun(tmp_path / "one", camera.url, [url], gop=0.5) as first:
        first.running()
        with LiveRun(tmp_path / "two", url) as second:
            second.running()
            assert (second.status.width, second.status.height) == (96, 64)
            assert accounted(second.stop())


def test_hls_over_http_to_its_end(tmp_path: Path) -> None:
    """A playlist that has an end: its frames come at their pace though a segment comes at once, then the run ends."""
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    with av.open(str(tmp_path / "cam.m3u8"), "w", format="hls", options={"hls_time": "1", "hls_list_size": "0"}) as out:
        video: Any = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": "25"})
        video.width, video.height = 96, 64
        for _ in range(100):
            out.mux(video.encode(av.VideoFrame(96, 64, "yuv420p")))
        out.mux(video.encode(None))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    film = tmp_path / "film.mkv"
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/cam.m3u8"
        run = derain(url, str(film), "--model", "identity", "--preset", "ultrafast", "--json")
        said, errors = run.communicate(timeout=PATIENCE)
    finally:
        server.shutdown()
        server.server_close()
    assert run.returncode == 0, errors
    result = json.loads(said)
    assert result["frames_in"] == 100
    assert result["frames_out"] + sum(result["dropped"].values()) == 100
    assert result["seconds"] > 3.0  # four seconds of film take that long
    assert frames_of(film) == result["frames_out"] + result["frames_filled"]


def test_threads_end() -> None:
    """The camera of these tests leaves no thread behind."""
    before = threading.active_count()
    with Camera():
        pass
    assert threading.active_count() == before
