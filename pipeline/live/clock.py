"""One clock for all that goes out, however often the source starts anew.

The output clock counts from the start of the stream. As long as a source goes on, its own timestamps say how much time
passes: they are evener than the moments at which frames arrive. Where they stop to mean anything (a new connection, a
jump) the clock is set by the moment of arrival, and time goes on from there. It never runs backwards.
"""

from __future__ import annotations

from pipeline.live.messages import TICKS

JUMP = 1.0
"""Seconds: source timestamps that go back by more than this, or ahead by more beyond the time that passed, jump."""

SOUND_AHEAD = 3.0
"""Seconds by which sound may be ahead of the picture, beyond the time that passed, before that is a jump: pictures come
out of a decoder late by as many as it puts in order, which is seconds at two a second."""

LEAST_STEP = TICKS // 1000
"""Ticks between two frames at least: Matroska and FLV count milliseconds."""


class SourceClock:
    """Maps the timestamps of one source to the output clock.

    Args:
        epoch: Monotonic seconds that are 0 on the output clock.
        settles: Seconds after a start in which a jump says nothing of the pictures. RTSP has such a time: its
            timestamps are set anew by the server's first report of the time of day (RTCP, 5 s apart or more).
    """

    def __init__(self, epoch: float, settles: float = 0.0) -> None:
        self._epoch, self._settles = epoch, settles
        self._settled_at = 0.0
        self._offset: float | None = None  # output seconds minus source seconds
        self._source = 0.0
        self._arrived = 0.0
        self._last: int | None = None
        self.jumps = 0
        """How often the source's own timestamps jumped."""

    def restart(self) -> None:
        """What comes next has nothing to do with the timestamps before."""
        self._offset = None

    def video(self, seconds: float | None, arrived: float) -> tuple[int, bool]:
        """Where a frame lies.

        Args:
            seconds: Its timestamp in the source; None where it has none.
            arrived: When it was read, in monotonic seconds.

        Returns:
            Ticks of the output clock, above those of the frame before; and whether the source jumped there, so that
            what comes has nothing to do with what was before.
        """
        now = arrived - self._epoch
        jumped = back = False
        if seconds is None:
            seconds = now if self._offset is None else now - self._offset
        if self._offset is not None:
            step, passed = seconds - self._source, arrived - self._arrived
            jumped = step < -JUMP or step > passed + JUMP
            back = step < 0  # a little: RTSP learns the time of day from the server some seconds after the start
            self.jumps += jumped
        if self._offset is None:
            self._settled_at = arrived + self._settles
        if self._offset is None or jumped or back:
            earliest = now if self._last is None else max(now, (self._last + LEAST_STEP) / TICKS)
            self._offset = earliest - seconds
        self._source, self._arrived = seconds, arrived
        jumped = jumped and arrived >= self._settled_at
        ticks = round((seconds + self._offset) * TICKS)
        if self._last is not None:
            ticks = max(ticks, self._last + LEAST_STEP)
        self._last = ticks
        return ticks, jumped

    def sound(self, seconds: float, arrived: float) -> int | None:
        """Where sound lies.

        Args:
            seconds: Its timestamp in the source.
            arrived: As of `video`.

        Returns:
            Ticks of the output clock. None where its place is not known: before the first frame, and where it is so far
            ahead of the last that the source has jumped, and the first frame from there is not here yet.
        """
        if self._offset is None or seconds > self._source + max(0.0, arrived - self._arrived) + SOUND_AHEAD:
            return None
        return round((seconds + self._offset) * TICKS)
