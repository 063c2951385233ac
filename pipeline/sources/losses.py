"""Which frames of a file did not come out of the decoder, and when they would have been shown."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import msgspec

_APART = 0.6
"""Frames that a packet's pts must be away from the frames given before one says that a frame is missing there. Two
fields of one frame are 0.5 apart, and what is never shown (alternate references) lies beside what is."""
_NEAR = 1.0
"""Seconds within which a refusal and a loss are taken for the same."""
_LISTED = 1000
"""Losses kept one by one; a file damaged all over must not fill the memory."""
_RANGES = 8
"""Stretches of time named in one line."""


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """One frame that could not be decoded ("lost"), or only in part, which the decoder filled in ("patched")."""

    time: float  # seconds, as pts count
    kind: Literal["lost", "patched"]


class Losses:
    """Compares what was given to a decoder with what came out, in presentation order.

    Args:
        base: Seconds a tick.
        step: Ticks of a usual frame, for packets that do not tell their duration.
    """

    def __init__(self, base: Fraction, step: int) -> None:
        self.since: int | None = None
        """What lies before this pts is not wanted, so that its loss is none."""
        self.count = 0
        self.listed: list[Loss] = []
        self._base, self._step = base, max(1, step)
        self._sent: dict[int, int] = {}  # pts -> duration of what the decoder still owes
        self._suspect: set[int] = set()
        self._refused: list[int] = []
        self._before: int | None = None
        self._until = 0
        self.gaps: list[tuple[float, float]] = []
        """Stretches, in seconds, in which no frame came though one would usually have."""

    def sent(self, pts: int | None, duration: int | None, sound: bool = True) -> None:
        """A packet goes to the decoder. `sound` is False where the demuxer knows that it is damaged."""
        if pts is not None:
            self._sent[pts] = duration or self._step
            if not sound:
                self._suspect.add(pts)

    def refused(self, pts: int | None, dts: int | None) -> None:
        """The decoder can make nothing of what it was given about now (it may say so some packets later)."""
        if pts is not None:
            self._refused.append(pts)
        else:
            self._note(dts if dts is not None else self._before or 0, "lost")

    def given(self, pts: int | None, corrupt: bool) -> None:
        """A frame came out."""
        if pts is None:
            if corrupt:
                self._note(self._before or 0, "patched")
            return
        duration = self._sent.pop(pts, self._step)
        self._missing_until(pts, duration)
        if corrupt or pts in self._suspect:
            self._note(pts, "patched")
        self._suspect.discard(pts)
        if self._before is not None and pts > self._until + self._step // 2 and len(self.gaps) < _LISTED:
            self.gaps.append((float(self._until * self._base), float(pts * self._base)))
        self._before, self._until = pts, pts + duration

    def end(self) -> None:
        """Nothing more comes: what is still owed is lost. A refusal that no loss explains is a frame patched up."""
        self._missing_until(None, self._step)
        known = [loss.time for loss in self.listed]
        for pts in self._refused:
            if all(abs(float(pts * self._base) - time) > _NEAR for time in known):
                self._note(pts, "patched")
        self._refused = []

    def _missing_until(self, pts: int | None, duration: int) -> None:
        for owed in sorted(self._sent if pts is None else (at for at in self._sent if at < pts)):
            step = self._sent.pop(owed)
            self._suspect.discard(owed)
            after = self._before is None or owed - self._before >= _APART * min(step, self._step)
            before = pts is None or pts - owed >= _APART * min(step, duration)
            if after and before:
                self._note(owed, "lost")

    def _note(self, pts: int, kind: Literal["lost", "patched"]) -> None:
        if self.since is not None and pts < self.since:
            return
        self.count += 1
        if len(self.listed) < _LISTED:
            self.listed.append(Loss(time=round(float(pts * self._base), 6), kind=kind))


def in_words(losses: list[Loss], count: int, step: float) -> str:
    """One line for people: how many, and when. `step` is the usual time between frames, in seconds."""
    said = []
    for kind, verb in (("lost", "lost"), ("patched", "damaged and patched up by the decoder")):
        times = sorted(loss.time for loss in losses if loss.kind == kind)
        if not times:
            continue
        stretches: list[list[float]] = []
        for time in times:
            if stretches and time - stretches[-1][1] <= 1.5 * step:
                stretches[-1][1] = time
            else:
                stretches.append([time, time])
        named = [f"{a:.3f} s" if a == b else f"{a:.3f}–{b:.3f} s" for a, b in stretches[:_RANGES]]
        more = f" and {len(stretches) - _RANGES} stretches more" if len(stretches) > _RANGES else ""
        said.append(f"{len(times)} frame{'s' * (len(times) > 1)} {verb} at {', '.join(named)}{more}")
    if count > len(losses):
        said.append(f"{count - len(losses)} more later on")
    return "; ".join(said)
