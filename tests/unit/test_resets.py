"""Where the membranes must forget, and that it is counted why."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from pipeline.frame import Frame, FrameHeader, StreamInfo
from pipeline.resets import ResetPolicy

INFO = StreamInfo(width=32, height=16, pixel_format="gray", time_base=(1, 1000))


def frame(pts: int, *, width: int = 32, duration: int = 40, shade: int = 0, reset: str = "") -> Frame:
    header = FrameHeader(index=0, pts=pts, width=width, height=16, pixel_format="gray", duration=duration, reset=reset)
    luma = np.random.default_rng(shade).integers(0, 256, width * 16, np.uint8)
    return Frame(header, luma)


def reasons(*frames: Frame, scene_cuts: bool = True, live: bool = False) -> list[str | None]:
    policy = ResetPolicy(INFO, scene_cuts=scene_cuts, live=live)
    found = [policy.reason(one) for one in frames]
    assert dict(policy.counts) == {reason: found.count(reason) for reason in set(found) if reason}
    return found


def test_only_the_start_of_a_steady_stream_resets_wherever_it_starts() -> None:
    assert reasons(*(frame(5000 + 40 * n) for n in range(4))) == ["start", None, None, None]


def test_small_gaps_and_variable_rate_go_on() -> None:
    assert reasons(frame(0), frame(10), frame(500), frame(1499), frame(1499)) == ["start", None, None, None, None]


def test_pts_that_jump_reset() -> None:
    assert reasons(frame(0), frame(1001), frame(1041)) == ["start", "pts_jump", None]
    assert reasons(frame(1000), frame(900)) == ["start", "pts_jump"]


def test_slow_films_do_not_jump_at_every_frame() -> None:
    minutes = [frame(60_000 * n, duration=60_000) for n in range(3)]
    assert reasons(*minutes) == ["start", None, None]
    assert reasons(*minutes, frame(60_000 * 7)) == ["start", None, None, "pts_jump"]


def test_another_size_resets() -> None:
    assert reasons(frame(0), frame(40, width=64), frame(80, width=64)) == ["start", "size_change", None]


def test_a_scene_cut_resets_unless_switched_off() -> None:
    shots = [frame(0), frame(40), frame(80, shade=1), frame(120, shade=1)]
    assert reasons(*shots) == ["start", None, "scene_cut", None]
    assert reasons(*shots, scene_cuts=False) == ["start", None, None, None]


def test_one_frame_resets_for_one_reason() -> None:
    assert reasons(frame(0), frame(9000, shade=1)) == ["start", "pts_jump"]


def test_of_a_live_stream_its_reader_says_where_it_does_not_go_on() -> None:
    """At a derain stage of its own, a camera's frames that were left out were jumps, four at a busy start; and a camera
    that had been away, or a decode stage that was restarted, was no reason."""
    frames = [frame(0, reset="restart"), frame(40), frame(9000), frame(9040, reset="closed"), frame(9080)]
    assert reasons(*frames, live=True) == ["start", None, None, "closed", None]
    assert reasons(*frames) == ["start", None, "pts_jump", None, None]


def test_a_live_stream_over_hosts_is_taken_for_one(tiny: Path) -> None:
    from pipeline.batcher import Batcher
    from pipeline.job import Job

    batcher = Batcher(Job(source="", destination="", model=str(tiny), runtime="eager", threads=1, scene_cuts=False))
    counts = []
    for live in (True, False):
        lane = batcher.open(msgspec.structs.replace(INFO, live=live))
        for one in (frame(0), frame(9000), frame(9040, reset="closed")):
            (made,) = batcher.step([(lane, one)])
            assert isinstance(made, Frame)
        counts.append(lane.resets)
    batcher.close()
    assert counts == [{"start": 1, "closed": 1}, {"start": 1, "pts_jump": 1}]
