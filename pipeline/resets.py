"""When the membranes must forget: where a frame does not continue the ones before it.

Membranes are kept from frame to frame. They are reset at the start of a stream, at a scene cut, where pts jump (or a
live source was lost), and where the size changes; every reset is counted with its reason.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pipeline.frame import Frame, FrameHeader, StreamInfo, fraction

if TYPE_CHECKING:
    from pipeline.scene_cut import SceneCut

JUMP_SECONDS = 1.0
"""A gap in pts longer than this is a jump: what was seen before says little about what comes."""
JUMP_FRAMES = 4
"""But it must also be longer than so many frames, or a film of one picture a minute would be all jumps."""


class ResetPolicy:
    """Looks at every frame of one stream in order."""

    def __init__(self, info: StreamInfo, *, scene_cuts: bool = True, live: bool = False) -> None:
        """
        Args:
            info: The stream.
            scene_cuts: Whether a cut resets; finding them costs about 0.6 ms a frame at 1080p.
            live: Frames may have been left out, which is no jump. Who reads the source knows where it does not go on,
                and has put the reason into that frame's header.
        """
        self.counts: Counter[str] = Counter()
        """Resets so far, by reason."""
        self._live = live
        self._tick = float(fraction(info.time_base))
        self._before: FrameHeader | None = None
        self._cuts: SceneCut | None = None
        if scene_cuts:
            from pipeline.scene_cut import SceneCut

            self._cuts = SceneCut()

    def reason(self, frame: Frame, known: str = "") -> str | None:
        """Why to reset before this frame: "start", "size_change", "pts_jump", "scene_cut", or of a live stream what its
        reader says; None: it goes on.

        `known` is a reason the caller knows of, such as "restart"; it goes before those found here.
        """
        cut = self._cuts is not None and self._cuts.is_cut(frame)
        before, self._before = self._before, frame.header
        found = known or ("start" if before is None else self._break(before, frame.header))
        found = found or ("scene_cut" if cut else None)
        if found:
            self.counts[found] += 1
        return found

    def _break(self, before: FrameHeader, header: FrameHeader) -> str | None:
        if self._live and header.reset:
            return header.reset
        if (header.width, header.height) != (before.width, before.height):
            return "size_change"
        if self._live:
            return None
        step = (header.pts - before.pts) * self._tick
        if step < 0 or step > max(JUMP_SECONDS, JUMP_FRAMES * before.duration * self._tick):
            return "pts_jump"
        return None
