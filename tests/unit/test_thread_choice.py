"""How many threads a step gets: the way that is the quicker now, found out as frames go through."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from esdnet.models import load
from esdnet.runtimes.openvino import OpenvinoRuntime
from esdnet.runtimes.thread_choice import FIRST_PROBE, LONGEST_WAIT, ThreadChoice

pytest.importorskip("openvino")


def went(choice: ThreadChoice, steps: int, seconds: Callable[[bool, int], float]) -> list[bool]:
    """Which of the steps had one thread."""
    ways = []
    for number in range(steps):
        ways.append(choice.single)
        choice.took(seconds(choice.single, number))
    return ways


def test_near_cores_keep_all_threads_and_tries_cost_little() -> None:
    choice = ThreadChoice()
    ways = went(choice, 4000, lambda single, _: 0.026 if single else 0.016)
    assert not any(ways[:FIRST_PROBE])
    assert 0 < sum(ways) < 4000 * 0.04
    assert not choice.single


def test_far_cores_get_one_thread_soon_after_the_first_try() -> None:
    """A virtual machine's two cores on two chips: both together took 33 ms for what one does in 26."""
    ways = went(ThreadChoice(), 1000, lambda single, _: 0.026 if single else 0.033)
    assert all(ways[FIRST_PROBE : FIRST_PROBE + 8])
    assert sum(ways) > 1000 - FIRST_PROBE - 1000 * 0.04


def test_it_follows_when_the_host_moves_the_cores() -> None:
    """One machine's cores went from near to far and back within seconds."""
    far = range(600, 1400)
    ways = went(ThreadChoice(), 2400, lambda single, at: 0.026 if single else 0.033 if at in far else 0.016)
    assert sum(ways[600 + LONGEST_WAIT // 4 + 10 : 1400]) > 0.9 * 750
    assert sum(ways[1400 + LONGEST_WAIT + 10 :]) < 0.1 * 860


def test_single_slow_steps_change_nothing() -> None:
    rng = np.random.default_rng(0)
    ways = went(ThreadChoice(), 3000, lambda single, _: (0.026 if single else 0.016) * (1 + 4 * (rng.random() < 0.1)))
    assert sum(ways) < 3000 * 0.08


def test_nothing_is_tried_before_it_is_ready() -> None:
    choice = ThreadChoice()
    for _ in range(3 * FIRST_PROBE):
        assert not choice.single
        choice.took(0.03, ready=False)
    assert choice.wanted
    choice.took(0.03)
    assert choice.single


def test_a_stream_gives_the_same_bits_whatever_threads_its_steps_get(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way is made ready beside the steps, and taken and left at any frame."""
    turns: list[bool] = []

    class Whimsical(ThreadChoice):
        single = property(lambda self: bool(turns and turns[-1]))  # type: ignore[assignment]
        wanted = property(lambda self: True)  # type: ignore[assignment]

        def took(self, seconds: float, *, ready: bool = True) -> None:
            turns.append(ready and len(turns) % 3 > 0)

    rng = np.random.default_rng(3)
    height, width = 130, 182
    shapes = [(height, width), (height // 2, width // 2), (height // 2, width // 2)]
    frames = [[rng.integers(16, 236, shape, np.uint8) for shape in shapes] for _ in range(12)]
    runtime = OpenvinoRuntime(load("stream-nano"), threads=2)
    plain = runtime.open_stream(height, width, full_range=False)
    expected = [plain.step(frame) for frame in frames]
    assert plain._preparing is None
    monkeypatch.setattr("esdnet.runtimes.openvino_stream.ThreadChoice", Whimsical)
    stream = runtime.open_stream(height, width, full_range=False)
    for number, frame in enumerate(frames):
        got = stream.step(frame)
        assert all(np.array_equal(a, b) for a, b in zip(got, expected[number], strict=True))
        if number == 0:
            assert stream._preparing is not None
            stream._preparing.join()
    assert sum(turns) >= 6
    for threads in (1, 9):  # nothing to choose, and cores that are better all used
        runtime.steps_at_once = threads
        assert runtime.open_stream(height, width, full_range=False)._choice is None
