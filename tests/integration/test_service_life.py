"""`derain serve` as a process, with stand-ins for its streams: restarts, reloads, signals, leases."""

from __future__ import annotations

import os
import signal
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.running_service import RunningService, wait_for

pytest.importorskip("starlette", reason="needs the serve extra")

pytestmark = [pytest.mark.alone, pytest.mark.timeout(180)]


def runs(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "source": "fake://runs", "preview": False, **more}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestRestarts:
    def test_one_of_four_killed_comes_back_and_the_others_go_on(self, tmp_path: Path) -> None:
        names = ["a", "b", "c", "d"]
        with RunningService(tmp_path, streams=[runs(name) for name in names]) as running:
            began = time.monotonic()
            before = {name: running.until(name, "running") for name in names}
            slow = max(0.0, time.monotonic() - began - 1)  # how much slower than a free machine this one is now
            killed = time.monotonic()
            os.kill(before["c"]["pid"], signal.SIGKILL)
            back = wait_for(
                lambda: (s := running.stream("c"))["pid"] != before["c"]["pid"] and s["state"] == "running" and s, "c"
            )
            assert time.monotonic() - killed < 5 + slow
            assert back["restarts"] == 1
            assert any("SIGKILL" in entry["text"] for entry in back["log"] if entry["kind"] == "died")
            assert back["frames"]["frames_in"] >= before["c"]["frames"]["frames_in"], "counters never go back"
            for name in ("a", "b", "d"):
                after = running.stream(name)
                assert (after["pid"], after["restarts"]) == (before[name]["pid"], 0)

    def test_what_a_killed_stream_leaves_behind_is_cleared_away(self, tmp_path: Path) -> None:
        note = tmp_path / "pid"
        with RunningService(tmp_path, streams=[runs("a", source=f"fake://child?pid_file={note}")]) as running:
            pid = running.until("a", "running")["pid"]
            child = int(note.read_text())
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: running.stream("a")["pid"] not in (None, pid), "another process")
            assert not alive(child)

    def test_who_dies_again_and_again_is_left_alone(self, tmp_path: Path) -> None:
        restart = {"first_delay": 0.05, "limit": 3, "window": 600}
        streams = [runs("a", source="fake://dies?code=7&after=0.1")]
        with RunningService(tmp_path, restart=restart, streams=streams) as running:
            stream = running.until("a", "failed")
            assert stream["restarts"] == 2 and "3 times" in stream["message"] and "code 7" in stream["message"]
            assert "hunter2" not in running.said() and "rtsp://***@10.0.0.7/live" in running.said()
            running.ask("/api/streams/a/start", "POST")
            assert running.until("a", "running", "restarting")["restarts"] >= 2

    def test_what_cannot_be_meant_is_not_tried_again(self, tmp_path: Path) -> None:
        with RunningService(tmp_path, streams=[runs("a", source="fake://usage", model="nope")]) as running:
            stream = running.until("a", "failed")
            assert stream["restarts"] == 0 and "--model nope" in stream["message"]

    def test_a_source_that_ends_is_not_started_again(self, tmp_path: Path) -> None:
        with RunningService(tmp_path, streams=[runs("a", source="fake://dies?code=0&after=0.2")]) as running:
            running.until("a", "running", "stopped")
            assert running.until("a", "stopped")["restarts"] == 0

    def test_a_frozen_process_is_shown_dead_then_replaced(self, tmp_path: Path) -> None:
        restart = {"first_delay": 0.1, "hang_timeout": 5}
        with RunningService(tmp_path, restart=restart, streams=[runs("a")]) as running:
            began = time.monotonic()
            pid = running.until("a", "running")["pid"]
            slow = max(0.0, time.monotonic() - began - 1)  # how much slower than a free machine this one is now
            os.kill(pid, signal.SIGSTOP)
            stopped = time.monotonic()
            assert "has said nothing" in running.until("a", "silent")["message"]
            assert time.monotonic() - stopped < 3 + slow
            wait_for(
                lambda: (s := running.stream("a"))["pid"] not in (None, pid) and s["state"] == "running", "another"
            )
            assert not alive(pid)
            assert any("said nothing" in entry["text"] for entry in running.stream("a")["log"])

    def test_a_process_that_never_speaks_is_replaced(self, tmp_path: Path) -> None:
        restart = {"first_delay": 0.1, "start_timeout": 2, "limit": 2, "window": 600}
        with RunningService(tmp_path, restart=restart, streams=[runs("a", source="fake://mute")]) as running:
            assert "had not begun" in running.until("a", "failed")["message"]


class TestReload:
    def test_only_what_changed_is_touched(self, tmp_path: Path) -> None:
        with RunningService(tmp_path, streams=[runs("same"), runs("changed"), runs("gone")]) as running:
            before = {name: running.until(name, "running")["pid"] for name in ("same", "changed", "gone")}
            running.ask("/api/streams", "POST", runs("by-api"))
            running.write(streams=[runs("new"), runs("same"), runs("changed", crf=30)])
            running.process.send_signal(signal.SIGHUP)
            wait_for(lambda: set(running.streams()) == {"new", "same", "changed", "by-api"}, "the new streams")
            running.until("changed", "running")
            running.until("new", "running")
            after = running.streams()
            assert list(after) == ["new", "same", "changed", "by-api"]
            assert after["same"]["pid"] == before["same"] and after["same"]["restarts"] == 0
            assert after["changed"]["pid"] != before["changed"]
            assert not alive(before["gone"])
            running.write(streams=[runs("same")], listen={"port": 1})
            status, answer = running.ask("/api/reload", "POST")
            assert status == 200
            assert answer == {
                "added": [], "removed": ["new", "changed"], "changed": [], "kept": ["same"], "restart": ["listen"],
            }  # fmt: skip

    def test_a_wrong_file_changes_nothing(self, tmp_path: Path) -> None:
        with RunningService(tmp_path, streams=[runs("a")]) as running:
            pid = running.until("a", "running")["pid"]
            running.path.write_text("streams:\n  - id: a\n    sauce: fake://runs\n")
            running.process.send_signal(signal.SIGHUP)
            told = wait_for(lambda: running.ask("/api/streams")[1]["reload_error"], "the error")
            assert "live.yaml:3: streams[0].sauce: unknown key" in told
            status, answer = running.ask("/api/reload", "POST")
            assert status == 400 and "sauce" in answer["error"]
            assert running.stream("a")["pid"] == pid
            running.write(streams=[runs("a")])
            assert running.ask("/api/reload", "POST")[0] == 200
            assert running.ask("/api/streams")[1]["reload_error"] is None

    def test_what_the_command_line_overrules_stays_overruled(self, tmp_path: Path) -> None:
        content = {"listen": {"port": 1}, "streams": []}
        with RunningService(tmp_path, options=["--port", "0"], **content) as running:
            assert running.ask("/api/reload", "POST")[1]["restart"] == []


class TestEnding:
    def test_sigterm_drains(self, tmp_path: Path) -> None:
        with RunningService(tmp_path, streams=[runs("a"), runs("b")]) as running:
            pids = [running.until(name, "running")["pid"] for name in ("a", "b")]
            running.process.terminate()
            assert running.process.wait(60) == 0
            assert not any(map(alive, pids))
            assert "draining;" in running.said()

    def test_a_second_signal_ends_at_once(self, tmp_path: Path) -> None:
        streams = [runs("a", source="fake://deaf")]
        with RunningService(tmp_path, drain_seconds=600, streams=streams) as running:
            pid = running.until("a", "running")["pid"]
            running.process.terminate()
            running.until("a", "stopping")
            assert running.ask("/readyz")[0] == 503
            running.process.send_signal(signal.SIGINT)
            assert running.process.wait(60) == 130
            wait_for(lambda: not alive(pid), "the end of the stream")

    def test_who_does_not_drain_is_killed(self, tmp_path: Path) -> None:
        with RunningService(tmp_path, drain_seconds=1, streams=[runs("a", source="fake://deaf")]) as running:
            pid = running.until("a", "running")["pid"]
            running.process.terminate()
            assert running.process.wait(60) == 0
            assert not alive(pid)

    def test_nothing_is_left_in_the_folder_for_temporary_files(self, tmp_path: Path) -> None:
        temporary = Path("/tmp") / f"dt{os.getpid()}"
        temporary.mkdir()
        try:
            with RunningService(tmp_path / "s", environment={"TMPDIR": str(temporary)}, streams=[runs("a")]) as running:
                running.until("a", "running")
            assert list(temporary.iterdir()) == []
        finally:
            temporary.rmdir()


class TestLeases:
    def test_a_stream_belongs_to_one_worker_and_moves_when_that_is_killed(self, tmp_path: Path) -> None:
        leases = tmp_path / "leases"
        leases.mkdir()
        content = {"lease_folder": str(leases), "streams": [runs("a")]}
        with RunningService(tmp_path / "one", **content) as one:
            pid = one.until("a", "running")["pid"]
            with RunningService(tmp_path / "two", **content) as two:
                waiting = two.until("a", "waiting")
                assert waiting["lease"]["pid"] == one.process.pid and "has it" in waiting["message"]
                assert two.ask("/readyz")[0] == 200
                one.process.kill()
                two.until("a", "running")
                assert not alive(pid)

    def test_a_folder_that_is_away_for_a_while_is_waited_for(self, tmp_path: Path) -> None:
        leases = tmp_path / "leases"
        leases.mkdir()
        streams = [runs("a", autostart=False)]
        with RunningService(tmp_path / "one", lease_folder=str(leases), streams=streams) as running:
            leases.rmdir()
            running.ask("/api/streams/a/start", "POST")
            wait_for(lambda: "lease can't be taken" in running.stream("a")["message"], "the reason")
            assert running.stream("a")["state"] == "waiting"
            leases.mkdir()
            running.until("a", "running")

    def test_workers_share_what_one_may_not_have_alone(self, tmp_path: Path) -> None:
        leases = tmp_path / "leases"
        leases.mkdir()
        content = {"lease_folder": str(leases), "max_streams": 1, "streams": [runs("a"), runs("b")]}
        with RunningService(tmp_path / "one", **content) as one, RunningService(tmp_path / "two", **content) as two:

            def shared() -> bool:
                states = [[s["state"] for s in running.streams().values()] for running in (one, two)]
                return all(sorted(each) == ["running", "waiting"] for each in states)

            wait_for(shared, "one stream each")


def test_spans_are_sent_where_they_are_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="needs the otel extra")
    received: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        tracing = {"endpoint": f"http://127.0.0.1:{server.server_port}"}
        with RunningService(tmp_path, tracing=tracing, streams=[runs("a")]) as running:
            running.until("a", "running")
        server.shutdown()
    assert received and all(path == "/v1/traces" for path, _ in received)
    assert any(b"stream" in body and b"exit_code" in body for _, body in received)
