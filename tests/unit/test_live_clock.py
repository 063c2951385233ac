"""The clock of what goes out live, and the sound that is laid along it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipeline.live.clock import LEAST_STEP, SourceClock
from pipeline.live.messages import TICKS
from pipeline.live.sound import LATE, RATE, SoundTrack


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
