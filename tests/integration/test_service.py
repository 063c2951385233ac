"""`derain serve` as a process, with stand-ins for its streams: its API and how it starts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.front_door import derain
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
            (b'{"id": "x", "source": "fake://runs", "source": "fake://lost"}', "source is given twice"),
            (b"[" * 100_000, "nested too deeply"),
            (b'{"id": "x", "source": ' + b"[" * 900 + b"]" * 900 + b"}", "source: Input should be a valid string"),
        ],
    )
    def test_what_cannot_be_meant_is_told(self, service: RunningService, body: Any, said: str) -> None:
        """A text of nothing but brackets was answered with 500, and a page of traceback in the log."""
        status, answer = service.ask("/api/streams", "POST", body)
        assert status == 400 and said in answer["error"]
        assert "Traceback" not in service.said()

    def test_an_offer_that_is_nested_without_end(self, service: RunningService) -> None:
        """As with a stream: 500, and a page of traceback."""
        status, answer = service.ask("/api/streams/a/webrtc", "POST", b'{"type":' * 20_000)
        assert status == 400 and answer["error"] == "the request is nested too deeply"
        assert "Traceback" not in service.said()

    def test_an_unknown_key_is_told_with_those_of_a_stream(self, service: RunningService) -> None:
        """The keys of the whole file were named: listen, restart, streams …"""
        _, answer = service.ask("/api/streams", "POST", {"id": "x", "source": "fake://runs", "sorce": "y"})
        assert "audio, autostart" in answer["error"] and "listen" not in answer["error"]

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
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, Any], code: int, said: str
    ) -> None:
        monkeypatch.delenv("DERAIN_TOKEN", raising=False)
        running = RunningService(tmp_path, token=None, streams=[], **content)
        with pytest.raises(AssertionError, match="the service ended"), running:
            pass
        assert running.process.returncode == code
        assert running.said().startswith("derain: ") and said in running.said() and running.said().count("\n") == 1
        checked = derain("serve", "--check", running.path)
        assert (checked.returncode, checked.stderr) == (code, running.said()), "--check looks with the same eyes"

    def test_a_port_that_is_taken(self, tmp_path: Path, service: RunningService) -> None:
        port = int(service.url.rpartition(":")[2])
        running = RunningService(tmp_path, listen={"port": port}, streams=[])
        with pytest.raises(AssertionError, match="the service ended"), running:
            pass
        assert running.process.returncode == 1 and "can't listen there (Address already in use)" in running.said()
