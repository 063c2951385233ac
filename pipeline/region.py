"""`--region`: a picture that says where to derain."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DerainError
from pipeline.frame import StreamInfo
from pipeline.upright import quarter_turns


def read_region(path: str, info: StreamInfo) -> NDArray[np.float32]:
    """The mask as weights 0..1 (H, W), turned as the frames are stored.

    Args:
        path: A picture, seen upright, white where to derain; of colours the mean counts.
        info: The stream.

    Raises:
        DerainError: It cannot be read, or is of another size than the video.
    """
    from pipeline.sources.pictures import PictureSource

    if not os.path.isfile(path):
        raise DerainError(f"--region {path}: no such picture")
    with PictureSource(path) as source:
        plane = next(iter(source)).planes()[0].astype(np.float32)
    grey = plane if plane.ndim == 2 else plane.mean(axis=2)
    stored = np.rot90(grey, -quarter_turns(info))
    if stored.shape != (info.height, info.width):
        wanted = f"{info.height}x{info.width}" if info.rotation % 180 else f"{info.width}x{info.height}"
        raise DerainError(
            f"--region {path}: is {grey.shape[1]}x{grey.shape[0]}; make it as large as the video, {wanted}"
        )
    return np.ascontiguousarray(stored).astype(np.float32) / np.float32(255)
