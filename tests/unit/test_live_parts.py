"""The small rooms of live streams, each through its own front door."""

from __future__ import annotations

import itertools
import threading
import time

import msgspec
import numpy as np
import pytest

from pipeline.frame import Frame, FrameHeader
from pipeline.live.backoff import Backoff
from pipeline.live.clock import LEAST_STEP, SourceClock
from pipeline.live.mailbox import Mailbox
from pipeline.live.messages import TICKS, StageReport
from pipeline.live.notice import at, frozen, slate
from pipeline.live.overload import FRAMES_TO_SHRINK, SECONDS_TO_GROW, Governor, enlarged, shrunk
from pipeline.live.pace import Pace
from pipeline.live.sound import LATE, RATE, SoundTrack
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


def test_clock_follows_the_source_not_the_moment_of_arrival() -> None:
    clock = SourceClock(epoch=100.0)
    jitter = [0.0, 0.013, -0.008, 0.02]
    pts = [clock.video(7.0 + n / 25, 101.0 + n / 25 + late)[0] for n, late in enumerate(jitter)]
    assert pts == [TICKS + n * TICKS // 25 for n in range(4)]


@pytest.mark.parametrize("jump", [-5.0, 9.0])
def test_clock_goes_on_by_arrival_where_the_source_jumps(jump: float) -> None:
    clock = SourceClock(epoch=0.0)
    clock.video(50.0, 1.0)
    pts, jumped = clock.video(50.0 + jump, 1.04)
    assert jumped
    assert pts == round(1.04 * TICKS)
    assert clock.video(50.04 + jump, 1.08) == (round(1.08 * TICKS), False)


def test_clock_lets_rtsp_find_its_time_of_day() -> None:
    clock = SourceClock(epoch=0.0, settles=10.0)
    clock.video(0.0, 1.0)
    assert clock.video(3000.0, 6.0) == (6 * TICKS, False)
    assert clock.video(1.0, 20.0) == (20 * TICKS, True)


def test_clock_takes_a_small_step_back_for_no_jump() -> None:
    clock = SourceClock(epoch=0.0)
    clock.video(50.0, 1.0)
    assert clock.video(49.8, 1.04) == (round(1.04 * TICKS), False)
    assert clock.video(49.84, 1.08) == (round(1.08 * TICKS), False)


def test_clock_does_not_take_a_late_frame_for_a_jump() -> None:
    clock = SourceClock(epoch=0.0)
    clock.video(1.0, 1.0)
    assert clock.video(6.0, 6.2) == (6 * TICKS, False)


def test_clock_never_runs_backwards_over_a_new_connection() -> None:
    clock = SourceClock(epoch=0.0)
    last = max(clock.video(n / 10, 1.0)[0] for n in range(10))  # a burst: 0.9 s of pictures at once
    clock.restart()
    assert clock.video(0.0, 1.5)[0] == last + LEAST_STEP


def test_clock_gives_frames_without_a_timestamp_their_arrival() -> None:
    clock = SourceClock(epoch=10.0)
    assert [clock.video(None, 10.0 + n)[0] for n in range(3)] == [0, TICKS, 2 * TICKS]


def test_sound_lies_as_far_from_the_picture_as_in_the_source() -> None:
    clock = SourceClock(epoch=0.0)
    assert clock.sound(3.0, 4.9) is None
    clock.video(3.0, 5.0)
    assert clock.sound(3.5, 5.0) == round(5.5 * TICKS)
    assert clock.sound(6.0, 8.0) == round(8.0 * TICKS)  # the picture is away, the sound goes on


@pytest.mark.parametrize("jump", [-900.0, 900.0])
def test_sound_waits_for_the_picture_where_the_source_jumps(jump: float) -> None:
    """It came first after a jump ahead, and was laid by the old clock: 900 s behind the picture's end, for good."""
    clock = SourceClock(epoch=0.0)
    clock.video(1000.0, 1.0)
    first, second = clock.sound(1000.04 + jump, 1.04), clock.sound(1000.06 + jump, 1.06)
    assert all(pts is None or pts <= TICKS for pts in (first, second))
    assert clock.video(1000.08 + jump, 1.08) == (round(1.08 * TICKS), True)
    assert clock.sound(1000.1 + jump, 1.1) == round(1.1 * TICKS)
    old = clock.sound(1000.05, 1.11)
    assert old is None or old < 0  # a straggler by the old clock


def samples(count: int, value: int = 1000) -> bytes:
    return np.full((count, 2), value, np.int16).tobytes()


def taken(track: SoundTrack) -> tuple[int, np.ndarray]:
    pieces = track.take()
    assert all(a + 1024 == b for (a, _), (b, _) in itertools.pairwise(pieces))
    return pieces[0][0], np.concatenate([piece for _, piece in pieces])


def test_sound_track_is_unbroken_over_jitter() -> None:
    track = SoundTrack()
    for n in range(10):
        late = 900 if n % 2 else 0  # 10 ms to and fro
        track.add(TICKS + n * 960 * TICKS // RATE + late, samples(960))
    start, row = taken(track)
    assert start == RATE
    assert track.silence == 0
    assert (row == 1000).all()


def test_sound_track_fills_a_gap_with_silence() -> None:
    track = SoundTrack()
    track.add(0, samples(4800))
    track.add(TICKS, samples(4800))
    start, row = taken(track)
    assert (start, track.silence) == (0, RATE - 4800)
    assert (row[:4800] == 1000).all()
    assert (row[4800:RATE] == 0).all()
    assert (row[RATE:] == 1000).all()


def test_sound_track_leaves_out_what_lies_before_its_end() -> None:
    track = SoundTrack()
    track.add(0, samples(48_000))
    track.add(TICKS // 2, samples(48_000, 7))
    _, row = taken(track)
    assert len(row) == 72_000 // 1024 * 1024
    assert (row[48_000:] == 7).all()


def test_sound_track_does_not_fall_behind_a_picture_without_sound() -> None:
    track = SoundTrack()
    track.keep_up(0)
    track.keep_up(3 * TICKS)
    assert track.silence == 3 * RATE - LATE // 2


def test_sound_track_jumps_over_an_hour() -> None:
    track = SoundTrack()
    track.add(0, samples(2048))
    track.take()
    track.add(3600 * TICKS, samples(2048))
    pieces = track.take()
    assert [at for at, _ in pieces] == [3600 * RATE, 3600 * RATE + 1024]


def test_sound_track_does_not_run_away_from_the_picture() -> None:
    """Sound that lay far ahead by mistake took the track with it, and what came later was cut away for good."""
    track = SoundTrack()
    track.keep_up(0)
    track.add(0, samples(2048))
    track.add(998 * TICKS, samples(2048))
    track.keep_up(TICKS)
    track.add(TICKS, samples(4096, 7))
    start, row = taken(track)
    assert (start, len(row)) == (0, (RATE + 4096) // 1024 * 1024)
    assert (row[RATE:] == 7).all()


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
