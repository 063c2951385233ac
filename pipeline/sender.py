"""The upstream end of a link (`pipeline.link`)."""

from __future__ import annotations

import time

import zmq

from pipeline.endpoint import SLICE_MS, Endpoint, Stopped, check_turn, left
from pipeline.errors import DerainError
from pipeline.frame import Frame, StreamInfo
from pipeline.wire import PROTOCOL, Credit, End, EndAck, FrameMsg, Hello, Welcome, pack


class Sender(Endpoint):
    """The upstream end: `hello`, then `send` for each frame, then `finish`."""

    frames = 0
    """How many were sent."""
    epoch = 0
    """See `Hello.epoch`."""

    def hello(self, info: StreamInfo, timeout: float | None = None) -> None:
        """Announce the stream and wait until the receiver is ready for it. DerainError after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._wait_for_peer(deadline, timeout)
        self._post(Hello(PROTOCOL, info))
        match self._receive(left(deadline)):
            case None:
                raise self._no_answer(timeout)
            case Welcome(protocol, frames, size), None:
                self._same_protocol(protocol)
                self._frames_left, self._bytes_left = frames, size
                self._outstanding = 0
            case message, _:
                raise self._confused(f"a {type(message).__name__} instead of a welcome")

    def _wait_for_peer(self, deadline: float | None, timeout: float | None) -> None:
        """A bound end without a peer has nowhere to send to."""
        while not self._socket.poll(SLICE_MS, zmq.POLLOUT):
            if self._stop():
                raise Stopped
            if deadline is not None and time.monotonic() >= deadline:
                raise self._no_answer(timeout)

    def send(self, frame: Frame) -> None:
        """Send one frame, waiting for credit first. Its pixels must not be written to afterwards.

        ValueError for pixels that are not what the header says or frames out of order, see also `Endpoint`.
        """
        expected = check_turn(frame, self.frames)
        while self._take(0):  # credit that has come meanwhile, or a failure
            pass
        while not self._has_credit(expected):
            self._take(None)
        self._put(frame, expected)

    def try_send(self, frame: Frame) -> bool:
        """Send one frame if there is credit for it now; False, and nothing sent, where there is none. Never waits.

        The live mode's way: a frame that finds no credit may be given up for a newer one, which then takes its index.
        Raises as `send`.
        """
        expected = check_turn(frame, self.frames)
        while self._take(0):
            pass
        if not self._has_credit(expected):
            return False
        self._put(frame, expected)
        return True

    def _has_credit(self, size: int) -> bool:
        return not self._outstanding or (self._frames_left >= 1 and self._bytes_left >= size)

    def _put(self, frame: Frame, size: int) -> None:
        self._socket.send_multipart(
            [pack(FrameMsg(frame.header, self.epoch)), frame.pixels.data], copy=False, track=False
        )
        self.frames += 1
        self._frames_left -= 1
        self._bytes_left -= size
        self._outstanding += 1

    def finish(self, damaged: int = 0, timeout: float | None = None) -> None:
        """End the stream and wait until the last stage has closed its file. DerainError after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._post(End(self.frames, damaged, self.epoch))
        while True:
            match self._receive(left(deadline)):
                case None:
                    raise DerainError(
                        f"the {self.peer} stage did not confirm the end of the stream within {timeout:g} s: "
                        "the last frames may not be in the result"
                    )
                case Credit(), None:
                    pass
                case EndAck(frames), None:
                    if frames != self.frames:
                        raise self._confused(f"an acknowledgement of {frames} instead of {self.frames} frames")
                    return
                case message, _:
                    raise self._confused(f"a {type(message).__name__} instead of an acknowledgement")

    def _no_answer(self, timeout: float | None) -> DerainError:
        return DerainError(f"the {self.peer} stage did not answer the {self.stage} stage within {timeout:g} s")

    def _take(self, timeout: float | None) -> bool:
        """Take in one credit message, if one comes in time."""
        match self._receive(timeout):
            case None:
                return False
            case Credit(frames, size), None if 0 < frames <= self._outstanding:
                self._frames_left += frames
                self._bytes_left += size
                self._outstanding -= frames
                return True
            case message, _:
                raise self._confused(f"an unexpected {message}")
