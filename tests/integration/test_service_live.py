"""`derain serve` with real streams (`python -m pipeline.live`), without a network so that they start quickly."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from tests.running_service import RunningService, wait_for

pytest.importorskip("starlette", reason="needs the serve extra")
pytestmark = [pytest.mark.alone, pytest.mark.timeout(240)]

SOURCE = "lavfi:testsrc2=size=128x96:rate=10"


def test_real_streams_are_shown_replaced_and_closed(tmp_path: Path) -> None:
    """A recording that was cut off after half a second was not there at all: its output had started after the first
    frame, and waited for the next keyframe."""
    recording = {"model": "identity", "audio": False, "source": SOURCE}
    streams = [
        {"id": "a", "destinations": [str(tmp_path / "a-%Y%m%d-%H%M%S.mkv")], **recording},
        {"id": "b", "destinations": [str(tmp_path / "b-%Y%m%d-%H%M%S.mkv")], **recording},
    ]
    with RunningService(tmp_path / "service", real=True, streams=streams) as running:
        first = {name: running.until(name, "running") for name in ("a", "b")}
        wait_for(lambda: running.stream("a")["frames"]["frames_out"] > 5, "frames")
        with urlopen(running.url + "/api/streams/a/pair.mjpeg", timeout=60) as answer:
            assert answer.readline().startswith(b"--"), "pictures come"
        assert 'derain_frames_total{direction="out",stream="a"}' in running.ask("/metrics")[1].decode()

        os.kill(first["a"]["pid"], signal.SIGKILL)
        wait_for(lambda: running.stream("a")["pid"] not in (None, first["a"]["pid"]), "another process")
        running.until("a", "running")
        b = running.stream("b")
        assert (b["pid"], b["restarts"], b["reconnects"]) == (first["b"]["pid"], 0, 0)

        derain = next(p for p in psutil.Process(first["b"]["pid"]).children() if "derain" in p.cmdline())
        derain.kill()
        wait_for(lambda: running.stream("b")["stage_restarts"].get("derain") == 1, "the stage to be replaced")
        written = running.stream("b")["frames"]["frames_out"]
        wait_for(lambda: running.stream("b")["frames"]["frames_out"] > written + 3, "frames after that")
        assert running.stream("b")["pid"] == first["b"]["pid"], "the stage alone is replaced"
        processes = psutil.Process(running.process.pid).children(recursive=True)
        running.process.terminate()
        assert running.process.wait(60) == 0
        assert not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    import av

    for name in ("a", "b"):
        for path in sorted(tmp_path.glob(f"{name}-*.mkv")):
            with av.open(str(path)) as file:
                pts = [frame.pts for frame in file.decode(video=0)]
            assert pts and pts == sorted(set(pts)), path
    assert len(list(tmp_path.glob("a-*.mkv"))) >= 2, "one of each process"


def test_no_stream_outlives_a_service_that_is_killed(tmp_path: Path) -> None:
    stream = {"id": "a", "model": "identity", "audio": False, "source": SOURCE}
    with RunningService(tmp_path, real=True, streams=[stream]) as running:
        running.until("a", "running")
        processes = psutil.Process(running.process.pid).children(recursive=True)
        assert len(processes) >= 4
        running.process.kill()
        running.process.wait()

        def gone() -> bool:
            return not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

        wait_for(gone, "the end of the stream", lambda: str(processes))
