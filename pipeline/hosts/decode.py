"""The decode stage by itself: a file's frames to a derain stage elsewhere."""

from __future__ import annotations

import msgspec

from pipeline.errors import DerainError
from pipeline.hosts.sender import Rewind, StreamSender
from pipeline.sources import open_source


class Decoded(msgspec.Struct, kw_only=True):
    """How it went: the JSON line of `derain stage decode --json`."""

    stage: str = "decode"
    stream: str
    frames: int
    damaged: int
    reconnects: int
    rewinds: int
    warnings: list[str] = []


def decode(
    source: str, link: StreamSender, *, partial: bool = False, strict: bool = False, native: bool = True
) -> Decoded:
    """Send all frames of `source`; returns when the encode stage has closed its file.

    A restarted decode stage, or one that others ask to begin again, decodes from the start of the file and sends from
    the frame that is wanted: where a file can be entered is not the same in all of them, frame numbers are.

    Raises:
        DerainError: The source cannot be read or holds no frame, or another stage has failed.
    """
    rewinds = 0
    while True:
        try:
            with open_source(source, partial=partial, strict=strict, native=native) as frames:
                link.join(frames.info)
                for frame in frames:
                    if frame.header.index >= link.frames:
                        link.send(frame)
                if not link.frames:
                    raise DerainError(f"{source}: not one frame of it can be decoded")
                link.finish(frames.damaged)
                return Decoded(
                    stream=link.stream,
                    frames=link.frames,
                    damaged=frames.damaged,
                    reconnects=link.reconnects,
                    rewinds=rewinds,
                    warnings=frames.warnings,
                )
        except Rewind:
            rewinds += 1
