"""Live streams with real processes, sockets and files: runs from their start to their end, and what they leave.

The camera is one of ours (`tests.live_camera`); real servers are in `test_live_servers.py`. Hardly anything is timed,
as the machine may be busy. What must hold is what is counted, what files hold, and that things come at all.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.live_camera import Camera
from tests.live_run import PATIENCE, LiveRun, accounted, derain, frames_of, pts_of, rising, wait_for

pytestmark = [
    pytest.mark.alone,
    pytest.mark.timeout(400),
    pytest.mark.skipif(sys.platform != "linux", reason="live streams need Linux"),
]


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


def test_ctrl_c_does_not_wait_for_a_source_that_never_sent(tmp_path: Path) -> None:
    """Derain and encode waited six seconds to hear of an end, over a link that is made with the first frame."""
    from pipeline.live.session import DRAIN

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        url = f"udp://127.0.0.1:{free.getsockname()[1]}"
    with LiveRun(tmp_path, url, [str(tmp_path / "film.mkv")]) as run:
        stages = ("decode", "derain", "encode")
        run.wait(lambda _: all(run.has(stage) for stage in stages))
        before = run.status.uptime
        status = run.stop()
    assert status.state == "stopped"
    assert status.uptime - before < DRAIN
    assert not (tmp_path / "film.mkv").exists()


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


LAVFI = "lavfi:testsrc2=size=96x64:rate=15"


def test_a_destination_that_takes_nothing_is_said(tmp_path: Path) -> None:
    """A run into nobody's port ended with "65 of 65 frames" and exit code 0. What does get somewhere gets there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        nobody = f"rtmp://127.0.0.1:{taken.getsockname()[1]}/app/key"
        run = derain(LAVFI, str(tmp_path / "film.mkv"), nobody, "--model", "identity", "--duration", "2", "--json")
        said, errors = (one.decode() for one in run.communicate(timeout=PATIENCE))
    result = json.loads(said)
    assert run.returncode == 1, errors
    assert result["status"] == "failed"
    assert "nobody takes the stream" in result["error"]
    assert f"{result['frames_out']} encoded frames did not get there" in result["warnings"][0]
    assert result["destinations"][str(tmp_path / "film.mkv")] == "closed"
    assert errors.strip().splitlines()[-1].startswith("derain: rtmp://127.0.0.1")
    assert "key" not in errors + said
    assert frames_of(tmp_path / "film.mkv") == result["frames_out"]


def test_who_takes_one_connection_gets_the_stream(tmp_path: Path) -> None:
    """A connection of ours, to see whether somebody is there, used up a listener that takes one (`tcp://…?listen`): it
    got nothing, and the run said that nobody takes the stream."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(PATIENCE)

        def take() -> bytes:
            taken, _ = listener.accept()
            listener.close()
            with taken, taken.makefile("rb") as stream:
                return stream.read()

        taking = pool.submit(take)
        to = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        run = derain(LAVFI, to, "--model", "identity", "--duration", "2", "--json")
        said, errors = (one.decode() for one in run.communicate(timeout=PATIENCE))
        assert run.returncode == 0, errors
        (tmp_path / "taken.ts").write_bytes(taking.result(PATIENCE))
    assert frames_of(tmp_path / "taken.ts") == json.loads(said)["frames_out"]


def test_it_ends_when_nobody_reads_on(tmp_path: Path) -> None:
    """`derain run CAMERA - | ffplay -` went on for ever after its window was closed."""
    run = derain(LAVFI, "-", "--model", "identity", "--gop", "0.5")
    assert run.stdout is not None and run.stderr is not None
    assert run.stdout.read(10_000)
    run.stdout.close()
    assert run.wait(timeout=PATIENCE) == 1
    assert b"derain: -: Broken pipe" in run.stderr.read()
    run.stderr.close()


def test_rolling_segments_that_are_kept_are_as_many_as_asked_for(tmp_path: Path) -> None:
    """One more was left."""
    where = tmp_path / "c-%H%M%S.ts"
    asked = ("--segment-time", "0.5", "--gop", "0.5", "--keep", "2", "--duration", "4")
    run = derain(LAVFI, str(where), "--model", "identity", *asked)
    errors = run.communicate(timeout=PATIENCE)[1]
    assert run.returncode == 0, errors
    assert len(list(tmp_path.glob("c-*.ts"))) == 2
