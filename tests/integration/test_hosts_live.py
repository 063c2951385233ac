"""Cameras over hosts: decode, derain and encode stages of live sources, as processes."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.host_processes import WAIT, Stages, host_address, pictures, stages_in
from tests.live_camera import Camera
from tests.live_run import rising

pytestmark = [pytest.mark.alone, pytest.mark.timeout(300)]

QUICK = ("--preset", "ultrafast", "--gop", "0.4")


@pytest.fixture
def stages(tmp_path: Path) -> Iterator[Stages]:
    with stages_in(tmp_path) as made:
        yield made


@pytest.fixture
def address() -> Iterator[str]:
    with host_address() as url:
        yield url


class Chain:
    """The three stages of one stream."""

    def __init__(self, stages: Stages, address: str, source: str, *to: str, decode: tuple[str, ...] = ()) -> None:
        self._stages = stages
        self.derain = stages.start("stage", "derain", "--listen", address, "--model", "identity", "--json")
        link = ("--connect", address, "--json")
        self.decode = stages.start("stage", "decode", source, *link, "--wait", *decode)
        self.encode = stages.start("stage", "encode", *to, *link)

    def until(self, path: Path, size: int) -> None:
        """Until a file has grown by so many bytes."""
        before, deadline = bytes_in(path), time.monotonic() + WAIT
        while bytes_in(path) < before + size:
            said = [self._stages.said(process) for process in (self.derain, self.decode, self.encode)]
            assert time.monotonic() < deadline, said
            time.sleep(0.05)

    def end(self) -> tuple[dict[str, object], dict[str, object]]:
        """Ctrl-C at the decode stage; what both ends say."""
        self.decode.send_signal(signal.SIGINT)
        return self._stages.result(self.decode), self._stages.result(self.encode)


def bytes_in(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob(path.name))


def output_of(encode: subprocess.Popen[str]) -> psutil.Process:
    return next(p for p in psutil.Process(encode.pid).children() if "output" in p.cmdline())


def test_a_picture_is_shown_while_the_camera_is_away(tmp_path: Path, stages: Stages, address: str) -> None:
    """Nothing was written meanwhile: players of the stream gave up, and the recording had a hole."""
    film = tmp_path / "cam.mkv"
    with Camera() as camera:
        chain = Chain(stages, address, camera.url, "cam.mkv", *QUICK, "--on-loss", "slate")
        chain.until(film, 20_000)
        camera.away(True)
        chain.until(film, 1)  # what was on its way
        time.sleep(3.0)
        chain.until(film, 500)
        camera.away(False)
        chain.until(film, 20_000)
        sent, written = chain.end()
    assert sent["read"] == sent["frames"] + sent["dropped"] + sent["lost"]  # type: ignore[operator]
    assert sent["source_reconnects"] == 1
    assert written["filled"] > 5  # type: ignore[operator]
    assert written["frames"] == sent["frames"]
    held = pictures(film)
    assert len(held) == written["frames"] + written["filled"]  # type: ignore[operator]
    times = [pts / 1000 for pts, _ in held if pts is not None]
    assert rising(times)
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) < 5.0


def test_a_destination_that_hangs_holds_nobody_up(tmp_path: Path, stages: Stages, address: str) -> None:
    """It took the connection and read nothing: the encode stage waited for it, the derain stage for the encode stage,
    and the camera's frames were left out for ever."""
    film = tmp_path / "cam.mkv"
    noise = "lavfi:testsrc2=size=320x192:rate=50,noise=alls=90:allf=t"
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(8)
        hung = f"tcp://127.0.0.1:{deaf.getsockname()[1]}"
        chain = Chain(stages, address, noise, hung, "cam.mkv", *QUICK, "--crf", "1")
        for _ in range(8):  # far beyond what sockets and queues hold, and twice as fast as a camera
            chain.until(film, 2_000_000)
        sent, written = chain.end()
    assert sent["frames"] == written["frames"]
    dropped = written["sink_dropped"]
    assert isinstance(dropped, dict)
    assert dropped[hung] > 0
    assert dropped["cam.mkv"] == 0
    assert len(pictures(film)) == written["frames"] + written["filled"]  # type: ignore[operator]


def test_the_process_that_writes_may_die(tmp_path: Path, stages: Stages, address: str) -> None:
    """One that got SIGTERM was taken for one that had been asked to close, and nothing was ever written again."""
    films = [tmp_path / name for name in ("cam.mkv", "cam-2.mkv", "cam-3.mkv")]
    with Camera() as camera:
        chain = Chain(stages, address, camera.url, "cam.mkv", *QUICK)
        chain.until(films[0], 20_000)
        for number, film in zip((signal.SIGTERM, signal.SIGKILL), films[1:], strict=True):
            output_of(chain.encode).send_signal(number)
            chain.until(film, 20_000)
        _, written = chain.end()
    assert written["restarts"] == 2
    assert written["reconnects"] == 0
    assert all(pictures(film) for film in films)
    assert any("replaced" in warning for warning in written["warnings"])  # type: ignore[attr-defined]


def test_on_loss_stop_ends_the_stream(tmp_path: Path, stages: Stages, address: str) -> None:
    film = tmp_path / "cam.mkv"
    with Camera() as camera:
        chain = Chain(stages, address, camera.url, "cam.mkv", *QUICK, decode=("--on-loss", "stop"))
        chain.until(film, 20_000)
        camera.away(True)
        sent, written = stages.result(chain.decode), stages.result(chain.encode)
    assert sent["frames"] == written["frames"]
    assert len(pictures(film)) == written["frames"] + written["filled"]  # type: ignore[operator]


def test_an_encode_stage_that_is_asked_to_leave_tells_its_counts(tmp_path: Path, stages: Stages, address: str) -> None:
    """It closed its file and ended with 130 and without its line, as if a live stream had another way to be left. The
    stream goes on with the next one."""
    first, second = tmp_path / "a.mkv", tmp_path / "b.mkv"
    with Camera() as camera:
        chain = Chain(stages, address, camera.url, "a.mkv", *QUICK)
        chain.until(first, 20_000)
        chain.encode.terminate()
        left = stages.result(chain.encode)
        chain.encode = stages.start("stage", "encode", "b.mkv", "--connect", address, "--json", *QUICK)
        chain.until(second, 20_000)
        sent, written = chain.end()
    for result, film in ((left, first), (written, second)):
        assert result["warnings"] == []
        assert len(pictures(film)) == result["frames"] + result["filled"] > 0  # type: ignore[operator]
    assert sent["frames"] >= written["frames"]  # type: ignore[operator]


def test_a_destination_that_cant_be_meant_is_one_line(stages: Stages, address: str) -> None:
    """And the key of an RTMP address is nowhere: the encode stage's last line told it, and ps did."""
    with Camera() as camera:
        to = "rtmp://127.0.0.1:1/app/hunter2"
        chain = Chain(stages, address, camera.url, to, "--codec", "libx265")
        lines = set()
        while chain.encode.poll() is None:
            lines.add(Path(f"/proc/{chain.encode.pid}/cmdline").read_bytes())
            time.sleep(0.05)
        chain.decode.send_signal(signal.SIGINT)  # it still waits for an encode stage that will do
        chain.decode.wait(WAIT)
    assert chain.decode.returncode in (0, 130)  # before its first frame, or after
    assert chain.encode.returncode == 2
    said = stages.said(chain.encode)
    assert "flv does not take libx265" in said
    assert "Traceback" not in said and "hunter2" not in said
    assert any(b"rtmp://127.0.0.1:1/app/***" in line for line in lines)


def test_several_destinations_of_a_file_are_refused(tmp_path: Path, stages: Stages, address: str) -> None:
    from tests.clips import make_clip

    make_clip(tmp_path / "in.mkv", frames=10, width=96, height=64)
    stages.start("stage", "derain", "--listen", address, "--model", "identity", "--json")
    stages.start("stage", "decode", "in.mkv", "--connect", address, "--json")
    encode = stages.start("stage", "encode", "a.mkv", "b.mkv", "--connect", address, "--json")
    encode.communicate(timeout=WAIT)
    assert encode.returncode == 2
    assert "several destinations are for live sources" in stages.said(encode)


def test_a_camera_over_hosts_goes_on_whoever_is_restarted(tmp_path: Path, stages: Stages, address: str) -> None:
    """A live source can't be decoded again: an encode stage that was restarted wanted frame 0 of it."""
    with Camera() as camera:
        commands: dict[str, tuple[str, ...]] = {
            "derain": ("stage", "derain", "--listen", address, "--model", "identity", "--json"),
            "decode": ("stage", "decode", camera.url, "--connect", address, "--json", "--wait"),
            "encode": ("stage", "encode", "cam-%H%M%S.mkv", "--connect", address, "--json", *QUICK),
        }
        running = {name: stages.start(*command) for name, command in commands.items()}

        def goes_on() -> None:
            before, deadline = bytes_in(tmp_path / "cam-*.mkv"), time.monotonic() + WAIT
            while bytes_in(tmp_path / "cam-*.mkv") < before + 20_000:
                assert time.monotonic() < deadline, [stages.said(process) for process in running.values()]
                time.sleep(0.05)

        goes_on()
        for victim in ("derain", "decode", "encode"):
            os.kill(running[victim].pid, signal.SIGKILL)
            running[victim].wait()
            if victim == "encode":
                time.sleep(1.0)  # or the names of both files would tell the same second
            running[victim] = stages.start(*commands[victim])
            goes_on()
            files = sorted(tmp_path.glob("cam-*.mkv"))
            assert len(files) == (2 if victim == "encode" else 1)
        running["decode"].send_signal(signal.SIGINT)
        sent, encoded = stages.result(running["decode"]), stages.result(running["encode"])
    assert sent["read"] == sent["frames"] + sent["dropped"] + sent["lost"]  # type: ignore[operator]
    assert encoded["reconnects"] == 0
    for path in files:
        times = [pts for pts, _ in pictures(path)]
        assert times and times == sorted(set(times))
