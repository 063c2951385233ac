"""What a derain stage tells of its work."""

from __future__ import annotations

import msgspec


class Served(msgspec.Struct, kw_only=True):
    """What a derain stage has done so far: the JSON line of `derain stage derain --json`."""

    frames: int = 0
    steps: int | None = None  # of the network, fewer than frames; none where each stream takes its own
    streams: int = 0
    failed: int = 0
    joins: int = 0
    resets: dict[str, int] = {}
