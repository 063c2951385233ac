"""The small rooms of live streams, each through its own front door."""

from __future__ import annotations

import threading
import time

import msgspec
import numpy as np
import pytest

from pipeline.frame import Frame, FrameHeader
from pipeline.live.backoff import Backoff
from pipeline.live.mailbox import Mailbox
from pipeline.live.messages import StageReport
from pipeline.live.notice import at, frozen, slate
from pipeline.live.overload import FRAMES_TO_SHRINK, SECONDS_TO_GROW, Governor, enlarged, shrunk
from pipeline.live.pace import Pace
from pipeline.live.tally import Tally
from pipeline.live_status import AGE_BUCKETS_MS, LiveOrder, pack_status, read_order, unpack_status, write_order


def grey(width: int = 64, height: int = 48, value: int = 100) -> Frame:
    pixels = np.full(width * height * 3 // 2, 128, np.uint8)
    pixels[: width * height] = value
    return Frame(FrameHeader(index=0, pts=0, width=width, height=height, pixel_format="yuv420p"), pixels)


def test_mailbox_keeps_the_newest_and_counts_the_rest() -> None:
    box: Mailbox[int] = Mailbox()
    for number in range(5):
        box.put(number)
    assert box.take(0) == 4
    assert box.dropped == 4
    assert box.take(0) is None


def test_mailbox_with_room_gives_them_in_order() -> None:
    box: Mailbox[int] = Mailbox(3)
    for number in range(5):
        box.put(number)
    assert [box.take(0) for _ in range(3)] == [2, 3, 4]


def test_mailbox_wakes_who_waits() -> None:
    box: Mailbox[str] = Mailbox()
    threading.Timer(0.05, box.put, ["here"]).start()
    assert box.take(30.0) == "here"


def test_backoff_grows_to_its_bound_and_is_spread() -> None:
    backoff = Backoff(0.5, 4.0, spread=0.5)
    waits = [backoff.next() for _ in range(100)]
    assert 0.25 <= waits[0] <= 0.5
    assert all(2.0 <= wait <= 4.0 for wait in waits[3:])
    assert len({round(wait, 6) for wait in waits[3:]}) > 50  # jitter
    backoff.reset()
    assert backoff.next() <= 0.5


def test_notice_is_written_at_the_edge_and_leaves_the_frame_alone() -> None:
    frame = grey(320, 180)
    before = frame.pixels.copy()
    shown = frozen(frame, 75.0, noticed=True)
    assert (frame.pixels == before).all()
    changed = np.argwhere(shown.planes()[0] != 100)
    assert len(changed) > 50
    assert changed[:, 0].min() > 140  # the lower edge
    assert (shown.planes()[0] > 200).any()
    assert frozen(frame, 0.5, noticed=False) is frame


def test_slate_hides_the_picture() -> None:
    shown = slate(grey(320, 180, 200), 5.0)
    luma = shown.planes()[0]
    assert np.median(luma) < 60
    assert luma.max() > 200
    assert at(shown, 77).header.pts == 77


def test_governor_shrinks_only_after_a_while_and_grows_slowly() -> None:
    now = [0.0]
    governor = Governor(lambda: now[0])
    changed = [governor.note(0.08, 0.04) for _ in range(FRAMES_TO_SHRINK)]
    assert changed == [False] * (FRAMES_TO_SHRINK - 1) + [True]
    assert governor.scale == 0.5
    assert not any(governor.note(0.004, 0.04) for _ in range(50))
    now[0] = SECONDS_TO_GROW * 3
    assert governor.note(0.004, 0.04)
    assert governor.scale == 1.0


def test_governor_stays_where_it_keeps_up() -> None:
    governor = Governor(lambda: 0.0)
    assert not any(governor.note(0.03, 0.04) for _ in range(200))
    assert governor.scale == 1.0


def test_downscaled_deraining_changes_only_what_the_network_removed() -> None:
    frame = grey(64, 48, 100)
    small = shrunk(frame, 0.5)
    assert (small.header.width, small.header.height) == (32, 24)
    same = enlarged(frame, small, small.planes())
    assert all((a == b).all() for a, b in zip(same, frame.planes(), strict=True))
    dry = [plane.copy() for plane in small.planes()]
    dry[0] -= 20
    out = enlarged(frame, small, dry)
    assert (out[0] == 80).all()
    assert (out[1] == 128).all()


def report(stage: str, pid: int = 1, **fields: object) -> StageReport:
    return msgspec.structs.replace(StageReport(stage=stage, pid=pid), **fields)


def test_tally_adds_over_processes_that_were_replaced() -> None:
    tally = Tally(LiveOrder(id="cam", source="rtsp://a:b@c/d"))
    tally.take(report("decode", 1, counters={"read": 10, "dropped_overload": 2}))
    tally.take(report("decode", 1, counters={"read": 20, "dropped_overload": 3}))
    tally.take(report("decode", 2, counters={"read": 5}))
    tally.take(report("encode", 3, counters={"written": 21}))
    status = tally.status("stopped", final=True)
    assert (status.frames_read, status.frames_written) == (25, 21)
    assert status.dropped == {"overload": 3, "stage_restart": 1}
    assert status.source == "rtsp://***@c/d"


def test_tally_counts_ages_and_resets() -> None:
    tally = Tally(LiveOrder(id="cam", source="a.mkv"))
    tally.take(report("encode", ages=[0.005] * 99 + [0.3]))
    tally.take(report("derain", counters={"reset_start": 1, "reset_stalled": 2}, resets=[(5.0, "stalled")]))
    status = tally.status("running")
    assert status.age_ms_p50 == 5.0
    assert status.age_ms_p99 == 300.0
    assert status.age_buckets[0] == 99
    assert status.age_buckets[AGE_BUCKETS_MS.index(500.0)] == 100
    assert status.resets == {"start": 1, "stalled": 2}
    assert [entry.reason for entry in status.reset_log] == ["stalled"]
    assert unpack_status(pack_status(status)) == status


def test_order_survives_its_way_and_refuses_what_it_does_not_know() -> None:
    from pipeline.errors import DerainError

    order = LiveOrder(id="cam", source="rtsp://x/y", destinations=["a.mkv"], on_loss="slate")
    assert read_order(write_order(order)) == order
    with pytest.raises(DerainError, match="colour"):
        read_order(b'{"id":"a","source":"b","colour":"red"}')
    with pytest.raises(DerainError, match="on_loss"):
        read_order(b'{"id":"a","source":"b","on_loss":"cry"}')


def test_pace_holds_a_burst_until_each_is_due() -> None:
    pace, stop = Pace(), threading.Event()
    began = time.monotonic()
    for seconds in (7.0, 7.1, 7.2, 7.3):
        pace.wait(seconds, stop)
    assert time.monotonic() - began >= 0.29


def test_pace_does_not_wait_for_a_jump_nor_when_told_to_stop() -> None:
    pace, stop = Pace(), threading.Event()
    began = time.monotonic()
    pace.wait(0.0, stop)
    pace.wait(5000.0, stop)
    stop.set()
    pace.wait(5009.0, stop)
    assert time.monotonic() - began < 5.0
