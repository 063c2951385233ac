"""Live streams against servers that are not ours: GStreamer's for RTSP, nginx's for RTMP."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from tests.clips import make_clip
from tests.live_camera import Camera
from tests.live_run import PATIENCE, LiveRun, accounted, frames_of, pts_of, rising
from tests.live_servers import RtmpServer, RtspServer, why_no_rtmp_server, why_no_rtsp_server

pytestmark = [
    pytest.mark.alone,
    pytest.mark.timeout(500),
    pytest.mark.skipif(sys.platform != "linux", reason="live streams need Linux"),
]

needs_rtsp = pytest.mark.skipif(bool(why_no_rtsp_server()), reason=why_no_rtsp_server() or "is there")
needs_rtmp = pytest.mark.skipif(bool(why_no_rtmp_server()), reason=why_no_rtmp_server() or "is there")


@needs_rtsp
def test_an_rtsp_camera_whose_server_is_killed_and_comes_back(tmp_path: Path) -> None:
    """With sound; meanwhile the recording shows the last picture. One reset, with its reason."""
    film = tmp_path / "film.mkv"
    order = {"model": "stream-nano", "runtime": "eager", "threads": 1, "scene_cuts": False}
    with RtspServer(tmp_path) as server, LiveRun(tmp_path, server.url("sound"), [str(film)], **order) as run:
        run.running()
        run.more(20)
        server.kill()
        run.wait(lambda status: status.state == "lost")
        run.wait(lambda status: status.frames_filled > 5)
        server.start()
        run.wait(lambda status: status.state == "running" and status.reconnects == 1)
        run.more(20)
        status = run.stop()
    assert accounted(status)
    assert status.resets["start"] == 1
    assert sum(status.resets.values()) == 2, status.resets
    assert rising(pts_of(film))
    assert frames_of(film) == status.frames_written + status.frames_filled
    sound, picture = pts_of(film, "audio"), pts_of(film)
    assert rising(sound)
    assert max(later - earlier for earlier, later in itertools.pairwise(sound)) < 1.0  # silence, not a hole
    assert abs(sound[-1] - picture[-1]) < 5.0


@needs_rtsp
def test_a_recording_over_rtsp_whose_server_dies_is_lost(tmp_path: Path) -> None:
    """A film that a server plays has a length, and a connection that breaks looks like its end: the run ended with
    code 0 after a part of it."""
    make_clip(tmp_path / "long.mkv", frames=25 * 60, width=96, height=64)
    with RtspServer(tmp_path, film=tmp_path / "long.mkv") as server, LiveRun(tmp_path, server.url("film")) as run:
        run.running()
        server.kill()
        run.wait(lambda status: status.state == "lost")
        server.start()
        run.wait(lambda status: status.state == "running" and status.reconnects == 1)
        assert accounted(run.stop())


@needs_rtsp
def test_push_to_an_rtsp_server(tmp_path: Path) -> None:
    with RtspServer(tmp_path) as server, Camera() as camera:
        with LiveRun(tmp_path, camera.url, [server.url("push")], gop=0.5, audio=False) as run:
            run.running()
            run.wait(lambda status: list(status.destinations.values()) == ["open"])
            run.more(60)
            status = run.stop()
        assert status.sink_dropped[server.url("push")] < status.frames_written
    assert frames_of(server.recording) > 10


@needs_rtmp
def test_push_to_an_rtmp_server_and_read_from_it(tmp_path: Path) -> None:
    """Out over RTMP with sound, and in again; the server is killed and comes back, and both find it again."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    film = tmp_path / "two" / "film.mkv"
    with RtmpServer(tmp_path) as server, Camera(sound=True) as camera:
        url = server.url("secretkey")
        with LiveRun(tmp_path / "one", camera.url, [url], gop=0.5) as first:
            first.running()
            assert list(first.status.destinations) == [server.url("***")]
            first.wait(lambda status: list(status.destinations.values()) == ["open"])
            with LiveRun(tmp_path / "two", url, [str(film)]) as second:
                second.running()
                server.kill()
                first.wait(lambda status: next(iter(status.destinations.values())).startswith("waiting"))
                server.start()
                second.wait(lambda status: status.reconnects >= 1 and status.state == "running", PATIENCE)
                second.more()
                assert accounted(second.stop())
            status = first.stop()
            assert b"secretkey" not in first.errors().encode()
    assert accounted(status)
    assert rising(pts_of(film))
    assert rising(pts_of(film, "audio"))
