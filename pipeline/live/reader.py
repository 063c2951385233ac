"""The thread that reads a live source: connects, decodes, notices that it is gone, and connects again."""

from __future__ import annotations

import os
import select
import stat
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import DerainError
from pipeline.frame import StreamInfo
from pipeline.live.backoff import Backoff
from pipeline.live.clock import SourceClock
from pipeline.live.mailbox import Mailbox
from pipeline.live.notes import Notes
from pipeline.live.pace import LONGEST_WAIT, Pace
from pipeline.live.sound import SoundSender
from pipeline.redact import scrub
from pipeline.sources.live import LiveSource, SourceEnded, SourceLost
from pipeline.sources.live_address import live_address

if TYPE_CHECKING:
    from av import AudioFrame, VideoFrame

FIRST_ATTEMPTS = 3
"""Attempts to connect at the very start, where nobody wants to wait for a source that may be misspelt."""
LONGEST_PAUSE = 2.0
"""Seconds between two attempts at most: output goes on within 5 s of a source's return, opening it included."""
QUEUE = 8
"""Frames that wait where those without time are passed on with their rain."""


@dataclass(slots=True)
class Read:
    """A decoded frame that waits for its turn, still as FFmpeg has it: packing what is dropped would be waste."""

    frame: VideoFrame
    info: StreamInfo
    pts: int  # on the output clock
    read_at: float
    number: int  # of those read by this process, from 1


class Reader(threading.Thread):
    """Reads `stage.order.source` until it is stopped, or at its end.

    `box` has the frames. `failure` is set where it can't go on at all. `seen` is when a frame last came, or a new
    attempt to connect began: the main thread watches it, as some of FFmpeg's devices can't be interrupted.
    """

    def __init__(self, stage: Notes) -> None:
        super().__init__(daemon=True, name="reader")
        order = stage.order
        self._stage, self._order = stage, order
        self.box: Mailbox[Read] = Mailbox(QUEUE if order.on_overload == "passthrough" else 1)
        self.failure: DerainError | None = None
        self.ended = threading.Event()
        self.wanted = threading.Event()
        """To be set when the first frame is on its way: sound from before it would only pile up."""
        self.seen = time.monotonic()
        self.connected = stage.told.connected
        """Whether the source could ever be read."""
        self.lost = ""
        """Why the source is away; empty while it is there."""
        self._address = live_address(
            order.source, rtsp_transport=order.rtsp_transport, stall_timeout=order.stall_timeout, stdin=stage.told.stdin
        )
        self._clock = SourceClock(stage.told.epoch, self._address.settles)
        self._sound = SoundSender(stage.told.address("sound")) if order.audio else None
        self._backoff = Backoff(longest=LONGEST_PAUSE)
        self._read = 0
        self._breaks: deque[tuple[int, str]] = deque([(1, stage.told.reason)] if stage.told.reason else [])

    @property
    def limit(self) -> float:
        """Seconds after which the main thread may take this one for hung."""
        return self._patience + 2.0

    @property
    def still(self) -> bool:
        """Whether no picture has come for longer than one may take."""
        return time.monotonic() - self.seen > self._patience

    @property
    def _patience(self) -> float:
        return max(self._order.stall_timeout, self._address.silence) + self._beginning * self._order.open_timeout

    _beginning = 2
    """How often a connection has `open_timeout` beside: to be made and looked at, and then for a first keyframe."""

    def break_before(self, read: Read) -> str:
        """Why this frame does not continue what was sent before; empty if it does. Told once, however many frames were
        dropped before it."""
        reason = ""
        while self._breaks and self._breaks[0][0] <= read.number:
            number_and_reason = self._breaks.popleft()
            reason = reason or number_and_reason[1]
        return reason

    def run(self) -> None:
        try:
            while not self._stage.stopping.is_set():
                try:
                    self._connection()
                except SourceEnded:
                    return
                except SourceLost as lost:
                    if not self._go_on(lost):
                        return
        except DerainError as error:
            self.failure = error
        except Exception as error:
            said = scrub(f"{type(error).__name__}: {error}", self._stage.addresses(), foreign=True)
            self.failure = DerainError(f"internal error while reading: {said}")
        finally:
            self.ended.set()

    def _connection(self) -> None:
        """One connection, from opening to losing it."""
        from av import AudioFrame

        order, stage = self._order, self._stage
        self.seen, self._beginning = time.monotonic(), 2
        with LiveSource(
            order.source, self._address, open_timeout=order.open_timeout, stall_timeout=order.stall_timeout,
            sound=order.audio,
        ) as source:  # fmt: skip
            self.seen, self._beginning = time.monotonic(), 1
            pace = Pace() if source.paced else None
            info: StreamInfo | None = None
            for frame in source:
                if stage.stopping.is_set():
                    return
                now = time.monotonic()
                stage.counters["damaged"] = stage.counters.get("damaged", 0) + source.damaged
                source.damaged = 0
                seconds = source.seconds(frame)
                if isinstance(frame, AudioFrame):
                    self._hear(frame, seconds, now)
                    continue
                if info is None:
                    info = self._begin(source, frame)
                if pace:
                    self.seen = now + LONGEST_WAIT
                    pace.wait(seconds, stage.stopping)
                self._take(frame, seconds, info)

    def _begin(self, source: LiveSource, frame: VideoFrame) -> StreamInfo:
        """The first frame of a connection has come."""
        info = source.info(frame)
        for text in source.warnings:
            self._stage.warn(text)
        self._clock.restart()
        if self.connected:
            self._stage.count("reconnects")
            self._breaks.append((self._read + 1, self.lost or "reconnect"))
        self.connected, self.lost, self._beginning = True, "", 0
        self._stage.texts["source"] = source.codec
        self._stage.info = info
        self._backoff.reset()
        return info

    def _take(self, frame: VideoFrame, seconds: float | None, info: StreamInfo) -> None:
        self.seen = read_at = time.monotonic()
        self._stage.texts["lost"] = ""
        pts, jumped = self._clock.video(seconds, read_at)
        self._read += 1
        if jumped:
            self._breaks.append((self._read, "pts_jump"))
        self._stage.count("read")
        self.box.put(Read(frame, info, pts, read_at, self._read))

    def _hear(self, frame: AudioFrame, seconds: float | None, arrived: float) -> None:
        pts = None if seconds is None else self._clock.sound(seconds, arrived)
        if self._sound is not None and self.wanted.is_set() and pts is not None:
            self._sound.send(frame, pts)

    def _go_on(self, lost: SourceLost) -> bool:
        """Wait before the next attempt; whether there is to be one."""
        self._stage.texts["error"] = str(lost)
        if self.connected and self._order.source == "-" and _at_end(self._stage.told.stdin):
            return False
        self.lost = self.lost or lost.reason
        self._stage.texts["lost"] = self.lost
        if not self.connected and not self._order.wait_for_source and self._backoff.attempts + 1 >= FIRST_ATTEMPTS:
            self.failure = lost
            return False
        wait = self._backoff.next()
        self.seen = time.monotonic() + wait
        self._stage.stopping.wait(wait)
        return True


def _at_end(stdin: int) -> bool:
    """Whether a file or a pipe has no more to give. Some of FFmpeg's demuxers take the end for something broken, and to
    open it once more and more finds nothing but its end."""
    try:
        told = os.fstat(stdin)
        if stat.S_ISREG(told.st_mode):
            return os.lseek(stdin, 0, os.SEEK_CUR) >= told.st_size
        poll = select.poll()
        poll.register(stdin, select.POLLIN)
        return any(event & select.POLLHUP and not event & select.POLLIN for _, event in poll.poll(0))
    except OSError:  # it is closed
        return True
