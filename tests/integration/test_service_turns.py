"""`derain serve` as a process, with stand-ins for its streams: what is asked for while something else is under way."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.running_service import ROOT, RunningService

pytest.importorskip("starlette", reason="needs the serve extra")

pytestmark = [pytest.mark.alone, pytest.mark.timeout(180)]


def slow(name: str, drain: float = 1.0, **more: Any) -> dict[str, Any]:
    """A stream that takes a while to stop."""
    return {"id": name, "source": f"fake://slow?drain={drain:g}", "preview": False, **more}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """With one stream, which stays."""
    with RunningService(tmp_path_factory.mktemp("service"), streams=[slow("a", 0)]) as running:
        yield running


def asked(pool: ThreadPoolExecutor, running: RunningService, path: str, method: str = "POST") -> Future[Any]:
    """A request that is under way."""
    return pool.submit(running.ask, path, method)


def test_what_is_asked_for_last_is_so_however_much_is_asked_at_once(tmp_path: Path) -> None:
    """Eighteen requests to restart, stop and start one stream, each before the last was answered: those to stop and to
    restart were never answered, the stream ran on beside the one that was waited for, and SIGTERM never ended the
    service."""
    with RunningService(tmp_path, streams=[slow("a")]) as running, ThreadPoolExecutor(20) as pool:
        pid = running.until("a", "running")["pid"]
        many = [
            asked(pool, running, f"/api/streams/a/{action}")
            for _ in range(6)
            for action in ("restart", "stop", "start")
        ]
        assert {answer.result(60)[0] for answer in many} == {200}
        assert running.ask("/api/streams/a/start", "POST")[0] == 200
        assert running.until("a", "running")["pid"] != pid
        restarting = asked(pool, running, "/api/streams/a/restart")
        running.until("a", "stopping")
        stopping = asked(pool, running, "/api/streams/a/stop")
        assert restarting.result(60)[0] == stopping.result(60)[0] == 200
        assert running.until("a", "stopped")["pid"] is None, "the stop came after the restart"
        running.ask("/api/streams/a/start", "POST")
        running.until("a", "running")
        running.process.terminate()
        assert running.process.wait(60) == 0


def test_start_pressed_while_a_stream_stops_starts_it_again(tmp_path: Path) -> None:
    """Start was answered with 200 and forgotten, and the log said that the source had ended."""
    with RunningService(tmp_path, streams=[slow("a")]) as running, ThreadPoolExecutor(2) as pool:
        pid = running.until("a", "running")["pid"]
        stopping = asked(pool, running, "/api/streams/a/stop")
        running.until("a", "stopping")
        status, stream = running.ask("/api/streams/a/start", "POST")
        assert (status, stream["state"]) == (200, "stopping") and "starts again" in stream["message"]
        assert stopping.result(60)[0] == 200
        after = running.until("a", "running")
        assert after["pid"] != pid and after["message"] == ""
        assert "the source ended" not in [entry["text"] for entry in after["log"]]


def test_a_delete_and_a_reload_of_the_same_stream(tmp_path: Path) -> None:
    """The stream was taken out twice: a KeyError, 500, and what was new in the file was not started. After SIGHUP
    systemd was never told that the reload was over."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified, ThreadPoolExecutor(2) as pool:
        notified.bind(str(address))
        notified.settimeout(60)
        environment = {"NOTIFY_SOCKET": str(address)}
        with RunningService(tmp_path / "s", environment=environment, streams=[slow("a"), slow("b")]) as running:
            assert notified.recv(100) == b"READY=1"
            running.until("a", "running")
            running.write(streams=[slow("new")])
            deleting = asked(pool, running, "/api/streams/a", "DELETE")
            running.until("a", "stopping")
            os.kill(running.process.pid, signal.SIGHUP)
            assert deleting.result(60)[0] == 200
            assert (notified.recv(100), notified.recv(100)) == (b"RELOADING=1", b"READY=1")
            running.until("new", "running")
            assert list(running.streams()) == ["new"]
            assert "Traceback" not in running.said()


def test_a_stream_that_is_being_taken_out_cannot_be_started(tmp_path: Path) -> None:
    """It would have run on, with nobody to see or to stop it."""
    with RunningService(tmp_path, streams=[slow("a")]) as running, ThreadPoolExecutor(2) as pool:
        running.until("a", "running")
        deleting = asked(pool, running, "/api/streams/a", "DELETE")
        running.until("a", "stopping")
        status, answer = running.ask("/api/streams/a/start", "POST")
        assert status == 503 and "being taken out" in answer["error"]
        assert deleting.result(60)[0] == 200 and running.streams() == {}


def test_a_reload_lets_no_two_streams_have_one_destination(tmp_path: Path) -> None:
    """The file alone and the API refused it; a stream of the API and one of the file could write to one address."""
    mine = {"destinations": ["rtmp://h.example/app/secret-key"]}
    with RunningService(tmp_path, streams=[slow("a", 0)]) as running:
        assert running.ask("/api/streams", "POST", slow("by-api", 0, **mine))[0] == 201
        running.write(streams=[slow("a", 0), slow("b", 0, **mine)])
        status, answer = running.ask("/api/reload", "POST")
        said = "streams[1].destinations[0]: rtmp://h.example/app/*** is where the stream 'by-api' writes already"
        assert status == 400 and said in answer["error"]
        assert list(running.streams()) == ["a", "by-api"]
        running.write(streams=[slow("a", 0), slow("by-api", 0, **mine)])
        assert running.ask("/api/reload", "POST")[0] == 200, "the file may take a stream of the API over"


def test_what_needs_a_restart_is_told_until_it_is_put_back(tmp_path: Path) -> None:
    """The list was of what differed from the file that was read before: at the next reload it was empty, although the
    service still ran with the old settings, and it was not empty when they were put back."""
    with RunningService(tmp_path, streams=[]) as running:

        def needed() -> list[str]:
            return running.ask("/api/reload", "POST")[1]["restart"]

        running.write(streams=[], webrtc={"enabled": False})
        assert needed() == needed() == ["webrtc"]
        assert running.ask("/api/streams")[1]["webrtc"] is True, "what runs"
        running.write(streams=[])
        assert needed() == []


def test_a_file_that_is_no_yaml_is_the_callers_to_mend(tmp_path: Path) -> None:
    """It was answered with 500, as if the service were broken."""
    with RunningService(tmp_path, streams=[]) as running:
        running.path.write_text("listen: {port: 1\n")
        status, answer = running.ask("/api/reload", "POST")
        assert status == 400 and "not YAML" in answer["error"]
        running.path.write_text("a: " + "[" * 20_000)
        status, answer = running.ask("/api/reload", "POST")
        assert status == 400 and "nested deeper" in answer["error"]
        running.path.unlink()
        assert running.ask("/api/reload", "POST")[0] == 400
        assert "Traceback" not in running.said()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "nonsense"}, "live.yaml: a: --model nonsense: choose one of"),
        ({"codec": "libx999"}, "libx999"),
        ({"destinations": ["foo://h/x"]}, "not foo"),
        ({"destinations": ["none/a-%H%M%S.mkv"]}, "there is no folder"),
        ({"source": "rtps://u:secret@h/1"}, "not rtps"),
    ],
)
def test_a_reload_stops_no_stream_for_one_that_cannot_run(
    change: dict[str, Any], said: str, service: RunningService
) -> None:
    """The file was taken, what ran was stopped, and what came in its place died; `--check` refused the same file."""
    pid = service.until("a", "running")["pid"]
    service.write(streams=[slow("a", 0) | change])
    status, answer = service.ask("/api/reload", "POST")
    assert status == 400 and said in answer["error"] and "secret" not in answer["error"]
    assert service.ask("/api/streams")[1]["reload_error"] == answer["error"]
    status, answer = service.ask("/api/streams", "POST", slow("b", 0) | change)
    assert status == 400 and said.removeprefix("live.yaml: a: ") in answer["error"]
    assert list(service.streams()) == ["a"] and service.until("a", "running")["pid"] == pid


def test_another_spelling_of_a_file_is_the_same_file(service: RunningService, tmp_path: Path) -> None:
    """Both streams wrote, and what one of them wrote was lost."""
    absolute, relative = tmp_path / "m.m3u8", os.path.relpath(tmp_path / "m.m3u8", ROOT)
    assert service.ask("/api/streams", "POST", slow("b", 0, destinations=[str(absolute)]))[0] == 201
    status, answer = service.ask("/api/streams", "POST", slow("c", 0, destinations=[relative]))
    assert status == 400 and answer["error"] == f"{relative} is where the stream 'b' writes already"
    assert service.ask("/api/streams/b", "DELETE")[0] == 200
