"""Who may join a stream of a derain stage; keys (`pipeline.hosts.doors`) have been looked at before."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeline.hosts.streams import Stream
from pipeline.wire import PROTOCOL, Join

MOST_STREAMS = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def objection(join: Join, streams: Mapping[str, Stream]) -> str:
    """Why this stage can't join, in words for its user; empty where it can.

    Args:
        join: What it said.
        streams: Those under way, by name.
    """
    if join.protocol != PROTOCOL:
        return (
            f"the {join.role} stage speaks link protocol {join.protocol}, the derain stage {PROTOCOL}: "
            "install the same version of derain at both ends"
        )
    if not _NAME.fullmatch(join.stream):
        return f"{join.stream[:80]!r} is no name for a stream: letters, digits, dots and dashes, 64 at most"
    stream = streams.get(join.stream)
    if stream is None and len(streams) >= MOST_STREAMS:
        return f"the derain stage serves {MOST_STREAMS} streams already"
    if join.role == "decode" and join.info is None:
        return "a decode stage must say what it sends"
    known = stream.info if stream and join.role == "decode" else None
    if known and join.info and join.info != known and not (known.live and join.info.live):  # cameras' are made to fit
        return f"stream {join.stream} is under way with another video; choose another --stream"
    return ""
