"""Whether a step is quicker with all threads or with one, found out while frames go through.

Threads hand each other a piece of nearly every layer, a few hundred times a step. Between cores that share a cache this
costs next to nothing; a virtual machine's cores, though, are now on one chip, now on two, as the host moves them. On
the project's machine (2 cores) a round trip between them took 53 ns at one time and 360 ns at another, and a step of
`stream-nano` with both of them 16 ms or 33, where one alone took 26 at any time, and left the other to the codecs.
"""

from __future__ import annotations

from collections import deque

FIRST_PROBE = 40
"""Steps before the other way is tried for the first time: short clips never do."""
LONGEST_WAIT = 128
"""Steps between two tries at most; the fewest are a quarter. At this rate tries that show nothing cost some 2 %."""
_TRIED = 4
"""Steps of a try; the first, with cold caches, does not count."""
_BETTER = 0.93
"""How much quicker the other way must have been to be taken."""
_SLOWER = 1.3
"""How much slower than when it was chosen a way must have become to be doubted before its time."""


class ThreadChoice:
    """For one stream of steps. Ask `single`, take the step, say how long it `took`."""

    def __init__(self) -> None:
        self._single = False
        self._trying = 0
        self._since = 0
        self._wait = FIRST_PROBE
        self._level = 0.0
        self._recent: deque[float] = deque(maxlen=_TRIED - 1)
        self._tried: list[float] = []

    @property
    def single(self) -> bool:
        """Whether the next step should have one thread."""
        return self._single != bool(self._trying)

    @property
    def wanted(self) -> bool:
        """Whether the way with one thread is about to be tried, so that it should be made ready."""
        return self._since >= self._wait

    def took(self, seconds: float, *, ready: bool = True) -> None:
        """The step took so long. Nothing new is tried before the other way is `ready`."""
        if self._trying:
            self._tried.append(seconds)
            self._trying -= 1
            if not self._trying:
                self._decide()
            return
        self._recent.append(seconds)
        self._since += 1
        if len(self._recent) == self._recent.maxlen:
            self._level = self._level or min(self._recent)
            doubted = self._since >= LONGEST_WAIT // 4 and min(self._recent) > _SLOWER * self._level
            if ready and (self._since >= self._wait or doubted):
                self._trying, self._tried = _TRIED, []

    def _decide(self) -> None:
        before, now = min(self._recent), min(self._tried[1:])
        if now < _BETTER * before:
            self._single = not self._single
            self._level, self._wait = now, LONGEST_WAIT // 4
            self._recent.clear()
        else:
            self._level, self._wait = before, min(max(2 * self._wait, LONGEST_WAIT // 4), LONGEST_WAIT)
        self._since = 0
