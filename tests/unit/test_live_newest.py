"""Which frame goes next, played through with a network and a camera that take no real time."""

from __future__ import annotations

from pipeline.live.mailbox import Mailbox
from pipeline.live.newest import CALM, Newest

INTERVAL = 0.04


class Played:
    """A camera of 25 frames a second and a network that takes as long as it is told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.box: Mailbox[int] = Mailbox()
        self.newest = Newest(self.box, lambda: self.now)
        self.sent: list[int] = []
        self.ages: list[float] = []
        self._waiting: int | None = None
        self._next = 0

    @property
    def dropped(self) -> int:
        return self.box.dropped + self.newest.dropped

    @property
    def waiting(self) -> int:
        return len(self.box) + (self._waiting is not None)

    @property
    def read(self) -> int:
        return self._next

    def run(self, frames: int, takes: float) -> None:
        """Derain so many frames, each in so many seconds."""
        for _ in range(frames):
            if self._waiting is None:
                self._come(max(self.now, self._next * INTERVAL))
            assert self._waiting is not None
            frame, self._waiting = self.newest.choose(self._waiting), None
            self._take()
            self.sent.append(frame)
            self._come(self.now + takes)
            self.ages.append(self.now - frame * INTERVAL)

    def _come(self, until: float) -> None:
        while self._next * INTERVAL <= until:
            self.now = max(self.now, self._next * INTERVAL)
            self.box.put(self._next)
            self._next += 1
            self._take()
        self.now = until

    def _take(self) -> None:
        if self._waiting is None:
            self._waiting = self.box.take(0)


def test_a_network_that_is_late_once_drops_nothing() -> None:
    """A camera's 376 frames on a machine that kept up (32 ms of 40) lost one: the network had been late by a few
    milliseconds, when the next frame had just come, and the one before was dropped for it."""
    played = Played()
    played.run(50, 0.032)
    played.run(1, 0.075)
    played.run(50, 0.032)
    assert played.dropped == 0
    assert played.sent == list(range(101))
    assert max(played.ages) <= 2 * INTERVAL + 0.032 + 1e-6


def test_overload_is_skipped_evenly_and_no_frame_is_old() -> None:
    played = Played()
    played.run(200, 3.2 * INTERVAL)
    steps = [later - earlier for earlier, later in zip(played.sent[1:], played.sent[2:], strict=False)]
    assert set(steps) == {3, 4}
    assert max(played.ages[1:]) <= (3.2 + 1) * INTERVAL + 1e-6
    assert len(played.sent) + played.dropped + played.waiting == played.read


def test_a_little_too_much_is_skipped_evenly() -> None:
    """With a frame of slack for good, two would be left out in a row, half as often."""
    played = Played()
    played.run(20, 1.5 * INTERVAL)  # the slack is used up first
    played.sent.clear()
    played.run(200, 1.5 * INTERVAL)
    steps = [later - earlier for earlier, later in zip(played.sent, played.sent[1:], strict=False)]
    assert set(steps) == {1, 2}
    assert max(played.ages) <= 2 * INTERVAL + 1.5 * INTERVAL + 1e-6


def test_there_is_slack_again_after_a_while() -> None:
    played = Played()
    played.run(10, 0.02)
    played.run(1, 0.3)
    dropped = played.dropped
    assert dropped > 0
    played.run(1 + round(CALM / INTERVAL), 0.02)
    dropped = played.dropped
    played.run(1, 0.075)
    played.run(20, 0.03)
    assert played.dropped == dropped
