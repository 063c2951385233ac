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


def test_a_sample_takes_some_frames_in_a_row() -> None:
    probe = FiringProbe("stream-nano", every=0.0)
    assert [probe.show(planes(n), False) for n in range(2 * FRAMES)] == ([False] * (FRAMES - 1) + [True]) * 2
    assert probe.rate is not None and 0.01 < probe.rate < 0.95


def test_it_looks_once_in_a_while() -> None:
    probe = FiringProbe("stream-nano", every=3600.0)
    assert sum(probe.show(planes(n), False) for n in range(5 * FRAMES)) == 1


def test_the_same_frames_give_the_same_rate_and_others_another() -> None:
    def rate(seed: int) -> float:
        probe = FiringProbe("stream-nano", every=0.0)
        for n in range(FRAMES):
            probe.show(planes(seed + n), False)
        assert probe.rate is not None
        return probe.rate

    assert rate(0) == rate(0) != rate(100)


def test_odd_sizes_grey_pictures_and_large_ones() -> None:
    for frame in (planes(0, 33, 47), planes(0, 60, 90)[:1], planes(0, 400, 640)):
        probe = FiringProbe("stream-nano", every=0.0)
        assert [probe.show(frame, True) for _ in range(FRAMES)][-1]


def test_what_is_no_streaming_network_is_refused() -> None:
    with pytest.raises(ModelError):
        FiringProbe("no-such-model")
