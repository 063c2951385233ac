"""Live sources whose clock is none, or is set anew: what comes out goes on at the pace of the world."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from tests.clips import planes_of
from tests.live_http import HttpSource
from tests.live_run import PATIENCE, LiveRun, derain, frames_of, pts_of

pytestmark = [
    pytest.mark.alone,
    pytest.mark.timeout(400),
    pytest.mark.skipif(sys.platform != "linux", reason="live streams need Linux"),
]


def jpegs(rate: int, seconds: int = 100) -> Iterator[bytes]:
    """What a web camera sends: a JPEG, and a tenth of a second later the next. No time is told anywhere."""
    began = time.monotonic()
    yield b"--next\r\n"
    for index in range(seconds * rate):
        time.sleep(max(0.0, began + index / rate - time.monotonic()))
        data = cv2.imencode(".jpg", planes_of(index, 96, 64)[0])[1].tobytes()
        yield b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n--next\r\n" % (len(data), data)


def test_a_web_camera_keeps_its_pace(tmp_path: Path) -> None:
    """MJPEG over HTTP says no time, and FFmpeg makes 25 frames a second of it: 8 s of a camera with 10 were written as
    a film of 3.3 s."""
    film = tmp_path / "film.mkv"
    camera = HttpSource("multipart/x-mixed-replace;boundary=next", lambda: jpegs(10))
    with camera, LiveRun(tmp_path, camera.url, [str(film)]) as run:
        run.running()
        run.more(25)
        run.stop()
    times = pts_of(film)
    assert (times[-1] - times[0]) / (len(times) - 1) == pytest.approx(0.1, rel=0.2)


@pytest.mark.parametrize("piped", [True, False], ids=["pipe", "file"])
def test_standard_input_that_ends_amid_pictures_is_at_its_end(tmp_path: Path, piped: bool) -> None:
    """FFmpeg takes the end of such MJPEG for something broken, so it was opened again and again, for good, and the last
    picture was written all the time."""
    film, source = tmp_path / "film.mkv", tmp_path / "in.mpjpeg"
    source.write_bytes(b"".join(jpegs(1000, 1)))
    with contextlib.ExitStack() as open_ones:
        given = open_ones.enter_context(open(source, "rb"))
        if piped:
            given = open_ones.enter_context(subprocess.Popen(["cat"], stdin=given, stdout=subprocess.PIPE)).stdout
        run = derain("-", str(film), "--model", "identity", "--preset", "ultrafast", stdin=given)
        try:
            _, errors = run.communicate(timeout=PATIENCE)
        finally:
            run.kill()
    assert run.returncode == 0, errors
    assert b"of 1000 frames" in errors
    assert frames_of(film) >= 1
