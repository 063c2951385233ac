"""The small parts of the service: pacing of restarts, leases, totals over restarts, tokens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import DerainError, UsageError
from pipeline.live_status import AGE_BUCKETS_MS, LiveStatus, ResetEntry
from pipeline.service.lease import Lease
from pipeline.service.pacing import Pacing
from pipeline.service.past import Past


class TestPacing:
    def test_it_doubles_up_to_the_longest(self) -> None:
        pacing = Pacing(first=0.5, longest=4, limit=0, window=1000)
        assert [pacing.delay(now, jitter=lambda: 0.5) for now in range(6)] == [0.5, 1, 2, 4, 4, 4]

    def test_jitter_parts_those_that_died_together(self) -> None:
        low, high = (Pacing(1, 100, 0, 1000) for _ in range(2))
        for _ in range(2):
            waits = low.delay(0, jitter=lambda: 0.0), high.delay(0, jitter=lambda: 1.0)
        assert waits == (1.5, 2.5)

    def test_it_gives_up_at_the_limit_within_the_window(self) -> None:
        pacing = Pacing(1, 10, limit=3, window=100)
        assert [pacing.delay(now) is None for now in (0, 10, 20)] == [False, False, True]

    def test_old_deaths_are_forgotten(self) -> None:
        pacing = Pacing(1, 10, limit=3, window=100)
        assert all(pacing.delay(now) == 1 for now in (0, 200, 400, 600))

    def test_started_by_hand_it_begins_anew(self) -> None:
        pacing = Pacing(1, 10, limit=2, window=100)
        pacing.delay(0)
        pacing.forget()
        assert pacing.delay(1) == 1


class TestLease:
    def test_one_at_a_time(self, tmp_path: Path) -> None:
        one, two = Lease(tmp_path, "a"), Lease(tmp_path, "a")
        assert one.take() and one.take() and not two.take()
        assert Lease(tmp_path, "b").take()
        assert two.holder().pid > 0
        one.drop()
        assert two.take()

    def test_the_process_that_inherits_it_holds_it(self, tmp_path: Path) -> None:
        lease = Lease(tmp_path, "a")
        lease.take()
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lease.descriptor])
        lease.drop()
        assert not Lease(tmp_path, "a").take()
        child.communicate(b"\n")
        assert Lease(tmp_path, "a").take()

    def test_it_is_gone_with_a_killed_process(self, tmp_path: Path) -> None:
        code = "import sys; from pipeline.service.lease import Lease; lease = Lease(sys.argv[1], 'a'); lease.take()"
        code += "; print(flush=True); input()"
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        child.stdout.readline()
        assert not Lease(tmp_path, "a").take()
        child.kill()
        child.communicate()
        assert Lease(tmp_path, "a").take()

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(DerainError, match="make the folder"):
            Lease(tmp_path / "none", "a").take()


EXAMPLES = Path(__file__).parents[2] / "examples"


def status(**content: object) -> LiveStatus:
    return LiveStatus(id="a", state="running", **content)


class TestPast:
    def test_counters_go_on_over_a_restart(self) -> None:
        past = Past()
        past.take(status(dropped={"overload": 5}, frames_read=100, resets={"start": 1}))
        past.take(status(dropped={"overload": 7}, frames_read=150, resets={"start": 1}))
        past.process_ended()
        past.take(status(dropped={"stop": 1}, frames_read=10, resets={"start": 1, "scene_cut": 2}))
        assert past.dropped.all() == {"overload": 7, "stop": 1}
        assert past.counts.all()["frames_in"] == 160
        assert past.resets.all() == {"scene_cut": 2, "start": 2}

    def test_the_histogram_goes_on_too(self) -> None:
        past, buckets = Past(), [3] * len(AGE_BUCKETS_MS)
        past.take(status(age_buckets=buckets, age_sum_ms=90.0))
        past.process_ended()
        past.take(status(age_buckets=buckets, age_sum_ms=60.0))
        rows, seconds = past.ages.cumulative()
        assert rows[0] == ("0.01", 6.0) and rows[-1] == ("+Inf", 6.0) and seconds == pytest.approx(0.15)

    def test_each_reset_is_logged_once_with_its_time(self) -> None:
        past = Past()
        past.take(status(reset_log=[ResetEntry(10.0, "start")]))
        past.take(status(reset_log=[ResetEntry(10.0, "start"), ResetEntry(12.5, "scene_cut")]))
        assert [(e.at, e.text) for e in past.log() if e.kind == "reset"] == [(10.0, "start"), (12.5, "scene cut")]

    def test_drops_are_shown_as_a_rate(self) -> None:
        past = Past()
        past.take(status(at=100.0, dropped={"overload": 10}))
        past.take(status(at=102.0, dropped={"overload": 30}))
        assert past.history()["dropped"]["overload"][-1] == pytest.approx(10.0)

    def test_losses_and_returns_are_logged(self) -> None:
        past = Past()
        past.take(status())
        past.take(LiveStatus(id="a", state="lost", away="connection refused"))
        past.take(status())
        assert [(entry.kind, entry.text) for entry in past.log()][-2:] == [
            ("lost", "connection refused"), ("back", "frames come"),
        ]  # fmt: skip

    def test_memory_is_bounded(self) -> None:
        past = Past()
        for second in range(2000):
            past.take(status(at=float(second), reset_log=[ResetEntry(float(second), "scene_cut")]))
        assert len(past.history()["t"]) == 600 and len(past.log()) == 200


class TestToken:
    def read(self, path: Path) -> str | None:
        pytest.importorskip("starlette", reason="needs the serve extra")
        from pipeline.service.auth import read_token

        return read_token(str(path))

    def test_from_a_file_or_before_it_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("DERAIN_TOKEN", raising=False)
        path = tmp_path / "token"
        path.write_text("a-token-of-some-length\n")
        path.chmod(0o600)
        assert self.read(path) == "a-token-of-some-length"
        monkeypatch.setenv("DERAIN_TOKEN", "another-token-of-length")
        assert self.read(path) == "another-token-of-length"

    @pytest.mark.parametrize(
        ("token", "mode", "kind", "said"),
        [
            ("a-token-of-some-length", 0o644, DerainError, "everybody can read"),
            ("short", 0o600, UsageError, "at least 16"),
            ("", 0o600, UsageError, "at least 16"),
            ("a token with blanks in it", 0o600, UsageError, "without spaces"),
        ],
    )
    def test_what_is_no_token(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str, mode: int, kind: type, said: str
    ) -> None:
        monkeypatch.delenv("DERAIN_TOKEN", raising=False)
        path = tmp_path / "token"
        path.write_text(token)
        path.chmod(mode)
        with pytest.raises(kind, match=said):
            self.read(path)


class TestExamples:
    """The files in examples/ say what the service has."""

    def test_the_dashboard_asks_for_metrics_that_there_are(self) -> None:
        pytest.importorskip("prometheus_client", reason="needs the serve extra")
        import re

        from pipeline.service.config import ServiceConfig
        from pipeline.service.manager import Manager
        from pipeline.service.metrics import StreamMetrics

        manager = Manager("live.yaml", ServiceConfig(), folder="/tmp")
        there = {
            line.split()[2] for line in StreamMetrics(manager).text().decode().splitlines() if line[:6] == "# TYPE"
        }
        manager.close()
        asked = set(re.findall(r"derain_\w+", (EXAMPLES / "grafana.json").read_text()))
        asked = {re.sub("_bucket$", "", name) for name in asked}
        assert asked and asked <= there, asked - there

    def test_the_manifest_holds_a_file_that_can_be_loaded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import yaml

        from pipeline.service.config import load_config

        for name in ("CAMERA_PASSWORD", "RTMP_KEY"):
            monkeypatch.setenv(name, "x" * 8)
        parts = list(yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text()))
        text = next(part for part in parts if part["kind"] == "ConfigMap")["data"]["live.yaml"]
        (tmp_path / "live.yaml").write_text(text)
        config = load_config(str(tmp_path / "live.yaml"))
        pod = next(part for part in parts if part["kind"] == "DaemonSet")["spec"]["template"]["spec"]
        assert config.lease_folder in [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]]
        assert pod["terminationGracePeriodSeconds"] > config.drain_seconds
