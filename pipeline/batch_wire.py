"""What is said between a batch's front and its workers: msgspec structs over one ZeroMQ socket."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from pipeline.job import Job, JobResult


class Idle(msgspec.Struct, frozen=True, tag=True):
    """Worker: give me something to do."""


class Order(msgspec.Struct, frozen=True, tag=True):
    """Front: carry this job out."""

    number: int
    job: Job
    restart: bool = False


class Going(msgspec.Struct, frozen=True, tag=True):
    """Worker: so many frames of the job are written, of about so many."""

    number: int
    frames: int
    total: int | None = None


class Done(msgspec.Struct, frozen=True, tag=True):
    """Worker: the job has ended; its status says how."""

    number: int
    result: JobResult
    starved: bool = False
    """It failed for want of memory."""


class Quit(msgspec.Struct, frozen=True, tag=True):
    """Front: there is nothing more to do."""


BatchMessage: TypeAlias = Idle | Order | Going | Done | Quit
_decoder: msgspec.msgpack.Decoder[BatchMessage] = msgspec.msgpack.Decoder(BatchMessage)


def pack(message: BatchMessage) -> bytes:
    return msgspec.msgpack.encode(message)


def unpack(data: bytes) -> BatchMessage:
    return _decoder.decode(data)
