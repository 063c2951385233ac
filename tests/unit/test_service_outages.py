"""What the service tells of a stream that loses its source, a destination or a stage: its log, its message, metrics."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.live_status import LiveStatus
from pipeline.service.past import Past
from pipeline.service.state import State

REFUSED = "rtsp://***@10.0.0.7/live: connection refused"
OUT = "rtmp://h.example/app/***"
NOBODY = f"waiting: {OUT}: nobody listens there"


def status(state: str = "running", **content: Any) -> LiveStatus:
    return LiveStatus(id="a", state=state, **content)


def told(past: Past, *statuses: LiveStatus) -> list[str]:
    """What these add to the log, as it is also written into the service's own."""
    return [f"{entry.kind}: {entry.text}" for one in statuses for entry in past.take(one)]


class TestLog:
    def test_a_source_that_was_never_there_is_told_once_though_it_is_tried_again_and_again(self) -> None:
        """Nothing stood in the log, as the stream had never been "running" before."""
        past = Past()
        tries = [status("starting", away=f"{REFUSED} ({n})") for n in range(5)]
        assert told(past, status("starting"), *tries) == [f"lost: {REFUSED} (0)"]
        assert told(past, status("starting"), status(), status()) == ["back: frames come"]

    def test_each_destination_is_told_when_it_goes_and_when_it_is_back(self) -> None:
        """Neither log said a word of destinations."""
        past = Past()
        began = [status("starting", destinations={OUT: text}) for text in ("waiting: not started", "open")]
        assert told(past, *began, status(destinations={OUT: "waiting: no picture yet"})) == ["running: frames come"]
        away = [status(destinations={OUT: text, "b.m3u8": "open"}) for text in (NOBODY, f"{NOBODY} still", NOBODY)]
        assert told(past, *away) == [f"destination lost: {OUT}: nobody listens there"]
        assert told(past, status(destinations={OUT: "open"}), status(destinations={OUT: "closed"})) == [
            f"destination back: {OUT}"
        ]
        assert told(past, status(destinations={OUT: "failed: no space left"})) == [
            f"destination lost: {OUT}: no space left"
        ]

    def test_a_stage_that_is_replaced_is_no_source_that_is_lost(self) -> None:
        """The log said "lost", with whatever had gone wrong last, maybe an hour before."""
        past = Past()
        old = {"error": NOBODY, "destinations": {OUT: "open"}}
        statuses = [status(**old), status("lost", restarts={"derain": 1}, **old), status(restarts={"derain": 1}, **old)]
        assert told(past, *statuses) == ["running: frames come", "died: the derain stage; it was replaced"]

    def test_what_is_away_when_a_process_dies_is_told_when_it_is_back(self) -> None:
        past = Past()
        told(past, status(), status("lost", away=REFUSED, destinations={OUT: NOBODY}))
        past.process_ended()
        assert told(past, status("starting"), status("lost", away=REFUSED, destinations={OUT: NOBODY})) == []
        assert told(past, status(destinations={OUT: "open"})) == ["back: frames come", f"destination back: {OUT}"]

    def test_started_again_by_hand_it_is_told_anew(self) -> None:
        past = Past()
        told(past, status("starting", away=REFUSED))
        past.run_ended()
        assert told(past, status("starting", away=REFUSED)) == [f"lost: {REFUSED}"]


class TestMessage:
    def message(self, *statuses: LiveStatus) -> str:
        state = State(Past())
        state.launched()
        for one in statuses:
            state.take(one)
        return state.message

    def test_it_is_gone_when_what_it_tells_of_is_over(self) -> None:
        """A stream that ran again had "nobody listens there" beside it for minutes: the last error there was."""
        nobody = f"{OUT}: nobody listens there"
        assert self.message(status(error=nobody, destinations={OUT: NOBODY})) == nobody
        assert self.message(status(error=nobody, destinations={OUT: "open"})) == ""
        assert self.message(status("lost", error=nobody, away=REFUSED)) == REFUSED
        assert self.message(status("lost", error=nobody)) == "A stage stands still, or is being replaced."

    def test_a_source_that_ends_is_not_told_by_an_old_error(self) -> None:
        """A file that had been played to its end was "stopped: nobody listens there"."""
        from pipeline.service.process import cause_of_death

        assert cause_of_death(0, status("stopped", error=NOBODY), "") == ""
        assert cause_of_death(0, status("stopped", away=REFUSED), "") == REFUSED
        assert cause_of_death(1, status("failed", error="broken"), "") == "broken"


def test_two_destinations_that_look_alike_without_their_keys_stay_two() -> None:
    """Two stream keys of one server were one destination in reports: of the first nothing was known."""
    from pipeline.live.tally import Tally
    from pipeline.live_status import LiveOrder

    keys = [f"rtmp://h.example/app/{key}" for key in ("secret-1", "secret-2")]
    said = Tally(LiveOrder(id="a", source="s", destinations=[*keys, "c.m3u8"])).status("starting")
    assert list(said.destinations) == list(said.sink_dropped) == [OUT, f"{OUT} (2)", "c.m3u8"]


def test_a_lost_source_says_why_for_as_long_as_it_is_lost() -> None:
    from pipeline.live.messages import StageReport
    from pipeline.live.tally import Tally
    from pipeline.live_status import LiveOrder

    tally = Tally(LiveOrder(id="a", source="s"))
    for lost, away in (("refused", REFUSED), ("", ""), ("no_video", "s: no video"), ("", "")):
        tally.take(StageReport(stage="decode", pid=1, texts={"error": REFUSED, "lost": lost}))
        assert (tally.status("running").away, tally.status("running").error) == (away, REFUSED)


@pytest.mark.parametrize("said", ["open", "closed", "waiting: not started", "waiting: no picture yet"])
def test_a_destination_that_is_no_trouble(said: str) -> None:
    from pipeline.live_status import destination_away

    assert destination_away(said) == ""
