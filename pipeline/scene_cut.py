"""Scene cuts, seen frame by frame: is this frame the first of a new shot?

PySceneDetect's ContentDetector decides, on a picture small enough that streaks of rain average out and that looking
costs next to nothing beside the network.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.frame import Frame

THRESHOLD = 27.0
"""Mean change of hue, saturation and brightness (0..255) from which a frame begins a new shot: PySceneDetect's own."""
WIDTH = 128  # pixels of the picture that is looked at


class SceneCut:
    """Feed it every frame of a stream in order."""

    def __init__(self) -> None:
        from scenedetect import ContentDetector

        # A minimum of one frame between cuts: PySceneDetect then reports a cut on the very frame, without delay.
        self._detector = ContentDetector(threshold=THRESHOLD, min_scene_len=1)
        self._count = 0
        self._size: tuple[int, int] | None = None

    def is_cut(self, frame: Frame) -> bool:
        """Whether `frame` begins a new shot. The first frame, and one of another size, is none."""
        from scenedetect import ContentDetector, FrameTimecode

        size = (frame.header.width, frame.header.height)
        if self._size not in (None, size):
            self._detector = ContentDetector(threshold=THRESHOLD, min_scene_len=1)
        self._size = size
        small = _small(frame)
        found = self._detector.process_frame(FrameTimecode(self._count, fps=25.0), small)
        self._count += 1
        return any(cut.frame_num == self._count - 1 for cut in found)


def _small(frame: Frame) -> NDArray[np.uint8]:
    """The frame as BGR, `WIDTH` pixels wide or less."""
    planes = frame.planes()
    width = min(WIDTH, frame.header.width)
    height = max(1, round(frame.header.height * width / frame.header.width))
    small = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA) for plane in planes]
    if len(small) == 3:
        return np.asarray(cv2.cvtColor(np.dstack([small[0], small[2], small[1]]), cv2.COLOR_YCrCb2BGR), np.uint8)
    if small[0].ndim == 2:
        return np.asarray(cv2.cvtColor(small[0], cv2.COLOR_GRAY2BGR), np.uint8)
    return np.asarray(cv2.cvtColor(small[0], cv2.COLOR_RGB2BGR), np.uint8)
