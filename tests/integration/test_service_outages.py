"""`derain serve` as a process, with stand-ins for its streams: what an operator reads of outages."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.running_service import RunningService, wait_for

pytest.importorskip("starlette", reason="needs the serve extra")

pytestmark = [pytest.mark.alone, pytest.mark.timeout(180)]

OUT = "rtmp://h.example/app/***"


def test_outages_are_in_the_services_log_the_streams_log_and_the_metrics(tmp_path: Path) -> None:
    """An operator reads the journal, and of a source, a destination and a stage that were lost nothing stood there.
    A stream that ran again had the old error beside it, and metrics told nothing of destinations."""
    says = tmp_path / "says"

    def say(**content: Any) -> None:
        (tmp_path / "new").write_text(json.dumps(content))
        (tmp_path / "new").rename(says)

    stream = {
        "id": "a", "source": f"fake://says?file={says}", "preview": False,
        "destinations": ["rtmp://h.example/app/secret-key", "b.m3u8"],
    }  # fmt: skip
    waiting = f"waiting: {OUT}: nobody listens there"
    refused = "rtsp://***@10.0.0.7/live: connection refused"
    say(state="starting", away=refused, error=refused, destinations={OUT: "waiting: not started", "b.m3u8": "open"})
    with RunningService(tmp_path / "s", streams=[stream]) as running:

        def journal(text: str) -> None:
            wait_for(lambda: text in running.said(), text, running.said)

        journal(f"WARNING a: source lost: {refused}")
        say(
            state="lost", destinations={OUT: waiting, "b.m3u8": "open"}, restarts={"derain": 1},
            sink_dropped={OUT: 7, "b.m3u8": 0}, away=refused,
        )  # fmt: skip
        journal(f"WARNING a: destination lost: {OUT}: nobody listens there")
        journal("WARNING a: died: the derain stage; it was replaced")
        assert running.until("a", "lost")["message"] == refused
        metrics = running.ask("/metrics")[1].decode()
        assert 'derain_destination_up{destination="1",stream="a"} 0.0' in metrics
        assert 'derain_destination_up{destination="2",stream="a"} 1.0' in metrics
        assert 'derain_destination_frames_dropped_total{destination="1",stream="a"} 7.0' in metrics
        say(destinations={OUT: "open", "b.m3u8": "open"}, error=waiting, restarts={"derain": 1})
        journal("INFO a: source back: frames come")
        journal(f"INFO a: destination back: {OUT}")
        after = running.until("a", "running")
        assert after["message"] == "" and after["sink_dropped"] == [7, 0]
        kinds = [entry["kind"] for entry in after["log"] if entry["kind"] != "reset"]
        assert sorted(kinds) == ["back", "destination back", "destination lost", "died", "lost"]
        assert len(re.findall("source lost|destination lost|died", running.said())) == 3, "each once"
        assert "secret-key" not in running.said()
