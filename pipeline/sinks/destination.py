"""What a destination's name asks for."""

from __future__ import annotations

import os


def is_folder(destination: str) -> bool:
    """Whether it is a folder of pictures: one that is there, or a name without an ending or with a slash at its end."""
    return destination.endswith("/") or os.path.isdir(destination) or not os.path.splitext(destination)[1]
