"""`derain serve` as a process, with stand-ins for its streams: API, restarts, reloads, signals."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.running_service import RunningService, wait_for

pytest.importorskip("starlette", reason="needs the serve extra")

pytestmark = pytest.mark.timeout(180)


def runs(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "source": "fake://runs", "preview": False, **more}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One for all tests that leave its two first streams as they are."""
    streams = [
        {"id": "a", "title": "Gate", "source": "fake://runs", "destinations": ["rtmp://h.example/app/secret-key"]},
        {"id": "lost", "source": "fake://lost"},
    ]
    with RunningService(tmp_path_factory.mktemp("service"), streams=streams) as running:
        running.until("a", "running")
        running.until("lost", "lost")
        yield running


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestReading:
    def test_a_stream_tells_how_it_does(self, service: RunningService) -> None:
        stream = service.stream("a")
        assert (stream["title"], stream["runtime"], stream["fps_out"]) == ("Gate", "fake", 22.5)
        assert stream["age_ms"] == {"p50": 30.0, "p99": 90.0} and stream["resets"] == {"start": 1}
        assert alive(stream["pid"])

    def test_a_lost_source_is_told_from_a_dead_process(self, service: RunningService) -> None:
        stream = service.stream("lost")
        assert stream["state"] == "lost" and "connection refused" in stream["message"]

    def test_history_and_log_can_be_asked_for_from_a_point_on(self, service: RunningService) -> None:
        wait_for(lambda: len(service.stream("a")["history"]["t"]) >= 3, "three points")
        stream = service.stream("a")
        times = stream["history"]["t"]
        assert times == sorted(times) and len(stream["history"]["p99"]) == len(times)
        assert [entry["text"] for entry in stream["log"] if entry["kind"] == "reset"] == ["start"]
        _, newer = service.ask(f"/api/streams/a?since={times[-1]}&log={stream['log'][-1]['number']}")
        assert newer["log"] == [] and all(t > times[-1] for t in newer["history"]["t"])

    def test_metrics_have_what_a_dashboard_needs(self, service: RunningService) -> None:
        text = service.ask("/metrics")[1].decode()
        assert 'derain_stream_state{state="running",stream="a"} 1.0' in text
        assert 'derain_stream_state{state="running",stream="lost"} 0.0' in text
        assert 'derain_stream_fps{direction="out",stream="a"} 22.5' in text
        assert 'derain_stream_firing_ratio{stream="a"} 0.12' in text
        assert 'derain_stream_queue_bytes{stream="a"} 86400.0' in text
        assert 'derain_stage_busy_ratio{stage="derain",stream="a"} 0.6' in text
        assert 'derain_resets_total{reason="start",stream="a"} 1.0' in text
        for name in ("derain_frames_dropped_total", "derain_reconnects_total", "derain_stream_restarts_total"):
            assert re.search(rf'^{name}{{.*stream="a"', text, re.M), name
        buckets = {b: float(n) for b, n in re.findall(r'age_seconds_bucket{le="([^"]+)",stream="a"} (\S+)', text)}
        assert buckets["0.02"] == 0 and buckets["0.04"] == buckets["+Inf"] > 0
        seconds = float(re.search(r'age_seconds_sum{stream="a"} (\S+)', text).group(1))
        assert seconds == pytest.approx(0.03 * buckets["+Inf"])

    def test_probes(self, service: RunningService) -> None:
        assert service.ask("/healthz", token=None) == (200, {"status": "ok"})
        assert service.ask("/readyz", token=None) == (200, {"ready": True, "draining": False})

    def test_secrets_are_nowhere(self, service: RunningService) -> None:
        everything = str(service.ask("/api/streams")[1]) + service.ask("/metrics")[1].decode() + service.said()
        assert "secret-key" not in everything and "rtmp://h.example/app/***" in everything

    def test_the_page_is_there_and_comes_from_here_alone(self, service: RunningService) -> None:
        page = service.ask("/")[1].decode()
        assert "<title>derain</title>" in page
        for name in re.findall(r'(?:src|href)="(static/[^"]+)"', page):
            assert service.ask(f"/{name}")[0] == 200, name
        assert not re.search(r'(?:src|href)="(?:https?:)?//', page)

    def test_a_stream_that_is_not_there(self, service: RunningService) -> None:
        assert service.ask("/api/streams/none") == (404, {"error": "there is no stream 'none'"})

    def test_another_sites_name_is_turned_away(self, service: RunningService) -> None:
        status, text = service.ask("/api/streams", headers={"Host": "evil.example"})
        assert status == 421 and b"listen.names" in text
        assert service.ask("/api/streams", headers={"Host": "localhost:1"})[0] == 200

    def test_mjpeg_parts_hold_the_pair(self, service: RunningService) -> None:
        from urllib.request import urlopen

        import cv2
        import numpy as np

        from tests.fake_live import AFTER, BEFORE, HEIGHT, WIDTH

        with urlopen(service.url + "/api/streams/a/pair.mjpeg", timeout=60) as answer:
            assert answer.headers.get_content_type() == "multipart/x-mixed-replace"
            numbers = []
            for _ in range(3):
                assert answer.readline().startswith(b"--")
                head = dict(line.decode().strip().split(": ") for line in iter(answer.readline, b"\r\n"))
                body = answer.read(int(head["Content-Length"]))
                assert answer.read(2) == b"\r\n"
                numbers.append(int(head["X-Number"]))
                halves = body[: int(head["X-Before"])], body[int(head["X-Before"]) :]
                for jpeg, luma in zip(halves, (AFTER, BEFORE), strict=True):
                    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
                    assert picture.shape == (HEIGHT, WIDTH)
                    full_range = (luma - 16) * 255 / 219
                    assert abs(float(np.median(picture)) - full_range) < 4
            assert numbers == sorted(set(numbers))

    def test_still_pictures(self, service: RunningService) -> None:
        status, jpeg = service.ask("/api/streams/a/still.jpg")
        assert status == 200 and jpeg.startswith(b"\xff\xd8")

    def test_viewers_that_come_and_go_leave_nothing_open(self, service: RunningService) -> None:
        from urllib.request import urlopen

        def open_files() -> int:
            return len(os.listdir(f"/proc/{service.process.pid}/fd"))

        def look(times: int) -> None:
            for _ in range(times):
                for path in ("/api/events", "/api/streams/a/pair.mjpeg"):
                    with urlopen(service.url + path, timeout=60) as answer:
                        answer.read(10)

        look(2)
        before = open_files()
        look(20)
        wait_for(lambda: open_files() <= before, f"no more than {before} open files", lambda: str(open_files()))


class TestChanging:
    @pytest.mark.parametrize("token", [None, "not the token at all"])
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/api/streams"), ("DELETE", "/api/streams/a"), ("POST", "/api/streams/a/stop"),
            ("POST", "/api/streams/a/start"), ("POST", "/api/streams/a/restart"), ("POST", "/api/reload"),
            ("POST", "/api/login"),
        ],
    )  # fmt: skip
    def test_needs_the_token(self, service: RunningService, method: str, path: str, token: str | None) -> None:
        pid = service.stream("a")["pid"]
        status, answer = service.ask(path, method, body={"id": "new", "source": "fake://runs"}, token=token)
        assert status == 401 and "token" in answer["error"]
        assert service.stream("a")["pid"] == pid and "new" not in service.streams()

    def test_add_stop_start_remove(self, service: RunningService) -> None:
        status, made = service.ask("/api/streams", "POST", {"id": "new", "source": "fake://runs", "preview": False})
        assert status == 201 and made["origin"] == "api"
        pid = service.until("new", "running")["pid"]
        assert service.ask("/api/streams/new/stop", "POST")[1]["state"] == "stopped"
        assert not alive(pid)
        service.ask("/api/streams/new/start", "POST")
        assert service.until("new", "running")["pid"] != pid
        assert service.ask("/api/streams/new", "DELETE")[0] == 200
        assert "new" not in service.streams()
        assert 'stream="new"' not in service.ask("/metrics")[1].decode()

    def test_what_a_form_of_another_site_could_send_is_refused(self, service: RunningService) -> None:
        headers = {"Content-Type": "text/plain"}
        status, answer = service.ask("/api/streams/a/webrtc", "POST", {"type": "offer", "sdp": ""}, headers=headers)
        assert status == 400 and "application/json" in answer["error"]

    @pytest.mark.parametrize(
        "offer", [{}, [], {"type": "answer", "sdp": "v=0"}, {"type": "offer", "sdp": 1}, {"type": "offer", "sdp": "x"}]
    )
    def test_what_is_no_offer(self, service: RunningService, offer: Any) -> None:
        status, answer = service.ask("/api/streams/a/webrtc", "POST", offer)
        assert status == 400 and "offer" in answer["error"]

    @pytest.mark.parametrize("query", ["since=x", "since=nan", "log=inf", "log=1e999"])
    def test_what_is_no_number(self, service: RunningService, query: str) -> None:
        assert service.ask(f"/api/streams/a?{query}")[0] == 400

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({"id": "a", "source": "fake://runs"}, "there is a stream 'a' already"),
            ({"id": "Bad Name", "source": "fake://runs"}, "a-z, 0-9"),
            ({"id": "x"}, "source is missing"),
            ({"id": "x", "source": "fake://runs", "modle": "y"}, "modle: unknown key"),
            (
                {"id": "x", "source": "fake://runs", "destinations": ["rtmp://h.example/app/secret-key"]},
                "rtmp://h.example/app/*** is where the stream 'a' writes already",
            ),
            ([], "an object with id"),
            (b"{", "not JSON"),
        ],
    )
    def test_what_cannot_be_meant_is_told(self, service: RunningService, body: Any, said: str) -> None:
        status, answer = service.ask("/api/streams", "POST", body)
        assert status == 400 and said in answer["error"]

    def test_nobody_may_where_no_token_is_set(self, tmp_path: Path) -> None:
        with RunningService(tmp_path, token=None, streams=[]) as running:
            status, answer = running.ask("/api/reload", "POST")
            assert status == 403 and "no token is set" in answer["error"]
            assert running.ask("/api/streams", token=None)[1]["can_change"] is False

    def test_reading_asks_for_the_token_where_reading_is_not_open(self, tmp_path: Path) -> None:
        with RunningService(tmp_path, listen={"open_reading": False}, streams=[]) as running:
            for path in ("/api/streams", "/metrics", "/api/events"):
                assert running.ask(path, token=None)[0] == 401, path
            assert running.ask("/healthz", token=None)[0] == running.ask("/", token=None)[0] == 200
            from urllib.request import Request, urlopen

            login = Request(running.url + "/api/login", b"", headers={"Authorization": "Bearer a-token-only-for-tests"})
            with urlopen(login, timeout=60) as answer:
                cookie = answer.headers["Set-Cookie"].partition(";")[0]
                assert "HttpOnly" in answer.headers["Set-Cookie"]
            assert running.ask("/api/streams", token=None, headers={"Cookie": cookie})[0] == 200
            assert running.ask("/api/reload", "POST", token=None, headers={"Cookie": cookie})[0] == 401


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


class TestStarting:
    @pytest.mark.parametrize(
        ("content", "code", "said"),
        [
            ({"listen": {"host": "0.0.0.0"}}, 2, "open to the network"),
            ({"listen": {"host": "198.51.100.7"}}, 2, "open to the network"),
            ({"listen": {"token_file": "/nowhere/token"}}, 1, "openssl rand -hex 32 > /nowhere/token"),
            ({"lease_folder": "/nowhere/leases"}, 1, "/nowhere/leases: there is no such folder for leases"),
            ({"max_streams": 2}, 2, "max_streams needs lease_folder"),
        ],
    )
    def test_what_is_wrong_is_told_in_a_line(
        self, tmp_path: Path, content: dict[str, Any], code: int, said: str
    ) -> None:
        running = RunningService(tmp_path, token=None, streams=[], **content)
        with pytest.raises(AssertionError, match="the service ended"), running:
            pass
        assert running.process.returncode == code
        assert running.said().startswith("derain: ") and said in running.said() and running.said().count("\n") == 1

    def test_a_port_that_is_taken(self, tmp_path: Path, service: RunningService) -> None:
        port = int(service.url.rpartition(":")[2])
        running = RunningService(tmp_path, listen={"port": port}, streams=[])
        with pytest.raises(AssertionError, match="the service ended"), running:
            pass
        assert running.process.returncode == 1 and "can't listen there (Address already in use)" in running.said()


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
                os.kill(pid, signal.SIGTERM)  # the stand-in does not notice by itself that its parent is gone
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
