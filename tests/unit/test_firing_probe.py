"""The firing rate of a stream, sampled beside whatever runtime derains it."""

from __future__ import annotations

import numpy as np
import pytest

from esdnet.errors import ModelError
from esdnet.firing_probe import FRAMES, FiringProbe


def planes(seed: int = 0, height: int = 60, width: int = 90) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    half = ((height + 1) // 2, (width + 1) // 2)
    return [rng.integers(30, 200, size, dtype=np.uint8) for size in ((height, width), half, half)]


def looks(probe: FiringProbe, frames: list[list[np.ndarray]], full_range: bool = False) -> list[bool]:
    """Shown all of them, then stepped as often: whether a rate was new."""
    for frame in frames:
        probe.show(frame, full_range)
    return [probe.step() for _ in frames]


def test_a_sample_takes_some_frames_in_a_row() -> None:
    probe = FiringProbe("stream-nano", every=0.0, apart=0.0)
    for _ in range(2):
        assert looks(probe, [planes(n) for n in range(FRAMES)]) == [False] * (FRAMES - 1) + [True]
    assert probe.rate is not None and 0.01 < probe.rate < 0.95


def test_it_looks_once_in_a_while() -> None:
    probe = FiringProbe("stream-nano", every=3600.0, apart=0.0)
    assert sum(sum(looks(probe, [planes(n)])) for n in range(5 * FRAMES)) == 1


def test_a_frame_waits_for_one_step_at_most() -> None:
    """It looked at three frames in a row of the stream, each before the frame went on: on a core with little to spare
    three came late, once a second, and newer ones took their place. What is shown is kept, and looked at in between."""
    probe = FiringProbe("stream-nano", every=0.0, apart=3600.0)
    assert looks(probe, [planes(n) for n in range(FRAMES)]) == [False] * FRAMES
    assert len(probe._kept) == FRAMES - 1


def test_what_is_shown_may_be_overwritten() -> None:
    rates = []
    for spoilt in (False, True):
        probe = FiringProbe("stream-nano", every=0.0, apart=0.0)
        for n in range(FRAMES):
            frame = planes(n)
            probe.show(frame, False)
            for plane in frame:
                if spoilt:
                    plane[...] = 0
        while not probe.step():
            pass
        rates.append(probe.rate)
    assert rates[0] == rates[1]


def test_the_same_frames_give_the_same_rate_and_others_another() -> None:
    def rate(seed: int) -> float:
        probe = FiringProbe("stream-nano", every=0.0, apart=0.0)
        looks(probe, [planes(seed + n) for n in range(FRAMES)])
        assert probe.rate is not None
        return probe.rate

    assert rate(0) == rate(0) != rate(100)


def test_odd_sizes_grey_pictures_and_large_ones() -> None:
    for frame in (planes(0, 33, 47), planes(0, 60, 90)[:1], planes(0, 400, 640)):
        probe = FiringProbe("stream-nano", every=0.0, apart=0.0)
        assert looks(probe, [frame] * FRAMES, full_range=True)[-1]


def test_what_is_no_streaming_network_is_refused() -> None:
    with pytest.raises(ModelError):
        FiringProbe("no-such-model")
