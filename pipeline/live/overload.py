"""What to do when the network can't keep up with the source.

skip: only the newest frame is derained, which spaces the skipped ones evenly. passthrough: a frame for which there is
no time goes on with its rain. downscale: the network sees a smaller picture; only what it removes is enlarged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.frame import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

Planes = list[NDArray[Any]]

SCALES = (1.0, 0.5, 0.25)
HIGH, LOW = 0.95, 0.7
"""Above the first part of a frame's interval the picture is made smaller; larger again where it would then take less
than the second."""
FRAMES_TO_SHRINK = 10
SECONDS_TO_GROW = 10.0


class Governor:
    """Chooses the size at which the network keeps up.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._step = 0
        self._load = 0.0
        self._seen = 0
        self._since = clock()
        self._patience = SECONDS_TO_GROW

    @property
    def scale(self) -> float:
        return SCALES[self._step]

    def note(self, took: float, interval: float) -> bool:
        """Take note of one frame.

        Args:
            took: Seconds that the network needed.
            interval: Seconds between the source's frames.

        Returns:
            Whether the scale changed, so that the membranes have to be reset.
        """
        load = took / interval
        self._load = load if not self._seen else 0.8 * self._load + 0.2 * load
        self._seen += 1
        now = self._clock()
        if self._load > HIGH and self._seen >= FRAMES_TO_SHRINK and self._step + 1 < len(SCALES):
            if self._step == 0 and now - self._since < self._patience:
                self._patience = min(600.0, self._patience * 2)  # it grew too early: wait longer the next time
            return self._go(self._step + 1, now)
        if self._step and now - self._since > self._patience and 4 * self._load < LOW:
            return self._go(self._step - 1, now)
        return False

    def _go(self, step: int, now: float) -> bool:
        self._step, self._since, self._seen = step, now, 0
        return True


def shrunk(frame: Frame, scale: float) -> Frame:
    """The frame as the network is to see it.

    Args:
        frame: yuv420p or gray.
        scale: Of `SCALES`.
    """
    if scale == 1.0:
        return frame
    header = frame.header
    width, height = (max(16, round(side * scale / 2) * 2) for side in (header.width, header.height))
    sizes = [(width, height)] + [((width + 1) // 2, (height + 1) // 2)] * 2
    planes = [_resized(plane, size) for plane, size in zip(frame.planes(), sizes, strict=False)]
    small = msgspec.structs.replace(header, width=width, height=height)
    return Frame(small, np.concatenate([plane.reshape(-1) for plane in planes]))


def enlarged(frame: Frame, seen: Frame, dry: Planes) -> Planes:
    """The frame's own planes without what the network removed from the small view of it.

    Args:
        frame: As it was read.
        seen: What the network saw.
        dry: What it made of that.
    """
    made = []
    for plane, before, after in zip(frame.planes(), seen.planes(), dry, strict=True):
        change = _resized(after.astype(np.float32) - before, (plane.shape[1], plane.shape[0]))
        made.append(np.clip(plane + np.rint(change), 0, 255).astype(np.uint8))
    return made


def _resized(plane: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    import cv2

    shrinks = size[0] <= plane.shape[1] and size[1] <= plane.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(plane), size, interpolation=how))
