"""What an attempt to write a file leaves behind where it fails: a recording that can be played, or nothing."""

from __future__ import annotations

import os
import stat
from contextlib import suppress


def remove_if_empty(path: str) -> bool:
    """Remove a file that has no picture in it. Whether there is none now."""
    try:
        plain = stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return True
    if not plain or _has_picture(path):
        return False
    with suppress(OSError):
        os.unlink(path)
    return True


def _has_picture(path: str) -> bool:
    import av
    import av.error

    try:
        if not os.path.getsize(path):
            return False
        with av.open(f"file:{path}") as container:
            video = container.streams.video
            return bool(video) and any(packet.size for packet in container.demux(video[0]))
    except (av.error.FFmpegError, OSError, ValueError):
        return False
