"""What is said on the wire between stages: msgspec structs, tagged by name, packed as MessagePack.

A message is one ZeroMQ part, a frame two: the packed `FrameMsg` and its pixels as they lie in memory. Nothing is ever
pickled, so a peer can make a stage fail but not run code.

Three conversations use these messages:

* along a link (`pipeline.link`), downstream ``Hello FrameMsg* End`` and upstream ``Welcome Credit* EndAck``;
  `Failure` may come from either side at any time and ends it;
* between hosts (`pipeline.hosts`), ``Join`` from both sides of a derain stage, which answers the decode stage with
  `Resume` and the encode stage with `Hello`; then frames downstream and ``Written* EndAck`` upstream;
* from a stage to the front (`pipeline.supervisor`): ``Ready Progress* Report``, or `Failure`.
"""

from __future__ import annotations

import traceback
from typing import Literal, TypeAlias

import msgspec

from pipeline.errors import BeingMade, DerainError, Made, NoMemory, UsageError
from pipeline.frame import FrameHeader, StreamInfo
from pipeline.sources.losses import Loss

PROTOCOL = 1
"""Raised by one whenever a message changes its meaning; both ends of a link must have the same."""


class Hello(msgspec.Struct, frozen=True, tag=True):
    """First message of the sender: which protocol it speaks and what stream follows."""

    protocol: int
    info: StreamInfo
    epoch: int = 0  # of a live link, where another may take this sender's place: the frames that follow have it too


class Welcome(msgspec.Struct, frozen=True, tag=True):
    """Answer to `Hello`: how much may be in flight, that is sent and not yet given back by a `Credit`."""

    protocol: int
    frames: int
    bytes: int


class FrameMsg(msgspec.Struct, frozen=True, tag=True):
    """A frame; its pixels are the message's second part."""

    header: FrameHeader
    epoch: int = 0  # between hosts: of the `Resume` it follows; of a live link: of the `Hello`


class Credit(msgspec.Struct, frozen=True, tag=True):
    """The receiver is done with so many frames, which held so many bytes of pixels."""

    frames: int
    bytes: int


class End(msgspec.Struct, frozen=True, tag=True):
    """No frame follows. Says how many went before it, so that a lost tail can't pass for a short film."""

    frames: int
    damaged: int  # frames of the source that could not be decoded
    epoch: int = 0  # as in `FrameMsg`


class EndAck(msgspec.Struct, frozen=True, tag=True):
    """The last stage has closed its file with so many frames: the job is done."""

    frames: int


FailureKind: TypeAlias = Literal["usage", "failed", "memory", "made", "being made", "internal", "peer"]
"""usage: exit code 2; failed: exit code 1; memory: the same, for want of it; made, being made: the same, for the result
is there, or another run is at it; internal: a bug, exit code 1; peer: the stage at the other end of a link went away,
which is a consequence and never the cause."""
_KINDS: dict[type[DerainError], FailureKind] = {
    UsageError: "usage",
    NoMemory: "memory",
    Made: "made",
    BeingMade: "being made",
    DerainError: "failed",
}


class Failure(msgspec.Struct, frozen=True, tag=True):
    """A stage can't go on. `stage` is where it began, however many stages have passed it on since."""

    stage: str
    kind: FailureKind
    text: str
    trace: str = ""  # the traceback where it began, for --debug
    stream: str = ""  # between hosts: what its stage is for, which may not have joined yet

    @classmethod
    def of(cls, stage: str, error: BaseException) -> Failure:
        """What `error`, raised in `stage`, is to the others. A `StageFailed` keeps its first cause."""
        if isinstance(error, StageFailed):
            return error.failure
        trace = "".join(traceback.format_exception(error))
        for kind, name in _KINDS.items():
            if isinstance(error, kind):
                return cls(stage, name, str(error), trace)
        if isinstance(error, MemoryError):
            return cls(stage, "memory", f"the {stage} stage is out of memory", trace)
        return cls(stage, "internal", f"internal error in the {stage} stage: {type(error).__name__}: {error}", trace)

    def error(self) -> DerainError:
        """What it is to the caller."""
        kinds = {name: kind for kind, name in _KINDS.items()}
        return kinds.get(self.kind, DerainError)(self.text)


class StageFailed(DerainError):
    """Another stage has failed; carries its `Failure`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class Join(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Decode or encode stage to a derain stage on another host: here I am, (again) for the stream of this name."""

    protocol: int
    stream: str
    role: Literal["decode", "encode"]
    info: StreamInfo | None = None  # decode: what it sends
    next: int = 0  # encode: the frame it wants first; all before it are in its file
    frames: int = 0  # encode: how many it takes before it has written the first of them
    bytes: int = 0
    done: bool = False  # encode: its file is closed, with `next` frames


class Resume(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Derain stage to decode stage: send from this frame on. What belongs to an earlier epoch is thrown away."""

    protocol: int
    epoch: int
    next: int
    written: int  # frames before this one are in the result and need not be kept
    frames: int  # how many may be on their way beyond `written`
    bytes: int
    info: StreamInfo | None = None  # what the stream began with, which a camera that is back may not be


class Written(msgspec.Struct, frozen=True, tag=True):
    """All frames before this one are in the encode stage's hands for good; against the stream, through the stages."""

    next: int


class Probe(msgspec.Struct, frozen=True, tag=True):
    """Derain stage to the others: says nothing, but fails to be sent to one that has gone."""


class Farewell(msgspec.Struct, frozen=True, tag=True):
    """Derain stage to encode stage: the end has been acknowledged; nothing more will come."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Stage to front: set up; work begins. Each stage fills in what it knows."""

    stage: str
    info: StreamInfo | None = None  # decode
    model: str | None = None  # derain
    runtime: str | None = None  # derain


class Progress(msgspec.Struct, frozen=True, tag=True):
    """Stage to front: so many frames are through."""

    stage: str
    frames: int


class Report(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Stage to front: done, and how it went. Times are wall seconds from `Ready` to the end."""

    stage: str
    frames: int
    busy: float  # at its own work
    wait_in: float = 0.0  # waiting for a frame
    wait_out: float = 0.0  # waiting for credit and, at the end, for the acknowledgement
    damaged: int = 0  # decode: frames that could not be decoded, or not whole
    lost: list[Loss] = []  # decode: those frames, with their time
    resets: dict[str, int] = {}  # derain: how often the membranes were zeroed, by reason
    warnings: list[str] = []


Message: TypeAlias = (
    Hello | Welcome | FrameMsg | Credit | End | EndAck | Failure | Ready | Progress | Report
    | Join | Resume | Written | Probe | Farewell
)  # fmt: skip

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def pack(message: Message) -> bytes:
    return _encoder.encode(message)


def unpack(data: bytes | memoryview) -> Message:
    """Raises DerainError for bytes that are no message of this protocol."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise DerainError(
            f"a message on the link is not one of protocol {PROTOCOL} ({error}); run the same version at both ends"
        ) from error
