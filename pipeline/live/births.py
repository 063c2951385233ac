"""What is said between a nursery (`pipeline.live.nursery_process`) and those who have processes born there."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

LARGEST = 1 << 17
"""Bytes of a message."""

Kind: TypeAlias = Literal["stage", "stream"]
"""A process of a live stream (`pipeline.live.stage`), or the front of one (`python -m pipeline.live`)."""


class Birth(msgspec.Struct, frozen=True, kw_only=True):
    """A process that is wanted. Its file descriptors go along (SCM_RIGHTS): what takes its output, then those
    kept, then the reading end of a pipe: a byte there and it begins, an end and it does not."""

    name: str  # by which the answer will call it
    kind: Kind
    stage: str = ""  # decode, derain …
    order: bytes  # JSON that it would else find at its standard input
    parent: int  # process number of who asks
    model: str = ""  # what has to be loaded for it to begin at once; "": nothing
    kept: list[int] = []  # descriptors it is to have, under the numbers that the one who asks has them under

    @property
    def title(self) -> list[str]:
        """The arguments that start it in an interpreter of its own, and that `ps` shows."""
        return ["-m", "pipeline.live.stage", self.stage] if self.kind == "stage" else ["-m", "pipeline.live"]


class Born(msgspec.Struct, frozen=True):
    """The answer."""

    name: str
    pid: int  # 0: this nursery can't fork


_encoder = msgspec.msgpack.Encoder()
_births = msgspec.msgpack.Decoder(Birth)
_borns = msgspec.msgpack.Decoder(Born)


def pack(message: Birth | Born) -> bytes:
    return _encoder.encode(message)


def read_birth(data: bytes) -> Birth:
    return _births.decode(data)


def read_born(data: bytes) -> Born:
    return _borns.decode(data)
