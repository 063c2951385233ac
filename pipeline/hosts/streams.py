"""One stream as the derain stage sees it: who has joined, which frames are where, and how much more may come."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from pipeline.batcher import Lane
from pipeline.endpoint import bytes_of
from pipeline.frame import Frame, StreamInfo
from pipeline.wire import End

FRAMES_IN_FLIGHT = 8
"""Per stream, from the decode stage until they are written: one in the network, the others on the way."""
BYTES_IN_FLIGHT = 128 << 20


class OutOfStep(Exception):
    """A peer said something that does not follow from what went before; the text is for people."""


@dataclass
class Stream:
    """Numbers are of frames, and say "all before this one": ``written <= sent <= arrived``.

    Frames from `sent` on wait in `queue`; those from `written` on, derained, in `unwritten` until the encode stage has
    them in its file.
    """

    name: str
    info: StreamInfo | None = None
    decode: bytes | None = None
    encode: bytes | None = None
    lane: Lane | None = None
    epoch: int = 0
    arrived: int = 0
    sent: int = 0
    written: int = 0
    queue: deque[Frame] = field(default_factory=deque)
    unwritten: deque[Frame] = field(default_factory=deque)
    unwritten_bytes: int = 0
    end: End | None = None
    end_sent: bool = False
    closed: int | None = None  # frames in the encode stage's closed file
    wanted: int = 0  # what the encode stage wants first
    encode_frames: int = 0
    encode_bytes: int = 0
    gone_since: dict[str, float] = field(default_factory=dict)  # role -> when it was missed

    @property
    def running(self) -> bool:
        return self.decode is not None and self.encode is not None and self.lane is not None

    @property
    def has_room(self) -> bool:
        """Whether the encode stage takes another frame now."""
        if not self.running:
            return False
        if not self.unwritten:
            return True
        size = self.queue[0].pixels.nbytes if self.queue else 0
        return len(self.unwritten) < self.encode_frames and self.unwritten_bytes + size <= self.encode_bytes

    @property
    def ready(self) -> bool:
        """Whether a frame can be derained now."""
        return bool(self.queue) and self.has_room

    @property
    def expects(self) -> bool:
        """Whether a frame may come any moment that could be derained with others."""
        return self.has_room and not self.queue and (self.end is None or self.arrived < self.end.frames)

    @property
    def finished(self) -> bool:
        """Whether everything has been sent but the end."""
        return self.end is not None and not self.queue and self.sent == self.end.frames

    def come(self, frame: Frame, epoch: int) -> None:
        """A frame has arrived; one of an earlier epoch is not ours any more."""
        if epoch != self.epoch:
            return
        if frame.header.index != self.arrived or self.end is not None:
            raise OutOfStep(f"frame {frame.header.index} where {self.arrived} was due")
        if frame.pixels.nbytes != bytes_of(frame.header):
            raise OutOfStep(f"{frame.pixels.nbytes} bytes of pixels with {frame.header}")
        if self.arrived - self.written >= FRAMES_IN_FLIGHT:
            raise OutOfStep(f"more than the {FRAMES_IN_FLIGHT} frames that may be on their way")
        held = self.unwritten_bytes + sum(waiting.pixels.nbytes for waiting in self.queue)
        if held and held + frame.pixels.nbytes > 2 * BYTES_IN_FLIGHT:  # twice: a restarted sender does not know of all
            raise OutOfStep(f"more than the {BYTES_IN_FLIGHT >> 20} MiB that may be on their way")
        self.queue.append(frame)
        self.arrived += 1

    def ends(self, end: End) -> None:
        if end.epoch != self.epoch:
            return
        if end.frames != self.arrived:
            raise OutOfStep(f"the end after {end.frames} frames, with {self.arrived} of them here")
        self.end = end

    def went(self, frame: Frame) -> None:
        """A derained frame was sent to the encode stage."""
        self.sent += 1
        self.unwritten.append(frame)
        self.unwritten_bytes += frame.pixels.nbytes

    def wrote(self, number: int) -> None:
        """The encode stage has all frames before `number` in its file."""
        if not self.written <= number <= self.sent:
            raise OutOfStep(f"frames before {number} written, with {self.sent} sent")
        while self.written < number:
            self.unwritten_bytes -= self.unwritten.popleft().pixels.nbytes
            self.written += 1

    def rewind(self, number: int) -> None:
        """Begin again at this frame, with nothing kept."""
        self.queue.clear()
        self.unwritten.clear()
        self.unwritten_bytes = 0
        self.arrived = self.sent = self.written = number
        self.end, self.end_sent = None, False
