"""Encode of a live stream: frames and sound to packets, on one clock that goes on while the source is away."""

from __future__ import annotations

import contextlib
import queue
import threading
import time

from pipeline.frame import Frame, StreamInfo
from pipeline.link import Stopped
from pipeline.live.links import Upstream
from pipeline.live.screen import Screen
from pipeline.live.stage import LiveStage

_SLICE = 0.05
_IN_FLIGHT = 2
_OUTPUTS_START = (2.0, 0.5)
"""Seconds that outputs may take to be there before frames are taken all the same: at the start of the stream, where
they start with us; and of one who replaces another, where they have long been there."""


class _Inbox(threading.Thread):
    """Takes frames from the link, in a thread of its own so that the main one can act while none come."""

    def __init__(self, stage: LiveStage) -> None:
        super().__init__(daemon=True, name="inbox")
        self.frames: queue.Queue[tuple[StreamInfo, Frame]] = queue.Queue(_IN_FLIGHT)
        self.ended = threading.Event()
        self.closed = threading.Event()
        """To be set when all is encoded: only then the end is acknowledged."""
        self.failure: BaseException | None = None
        self._stage = stage

    def run(self) -> None:
        stage = self._stage
        link = Upstream(stage.told.address("derained"), "encode", "derain", _IN_FLIGHT, stage.stopped)
        try:
            for item in link.frames(lambda _: None):
                while not stage.stopped():
                    with contextlib.suppress(queue.Full):
                        self.frames.put(item, timeout=_SLICE)
                        break
            self.ended.set()
            if self.closed.wait(10.0):
                link.acknowledge()
        except Stopped:
            pass
        except BaseException as error:
            self.failure = error
        finally:
            self.ended.set()


def run(stage: LiveStage) -> None:
    """Encode until the stream ends, or the stage is asked to stop; either way everything is closed.

    Raises:
        DerainError: The encoder can't be opened.
    """
    screen = Screen(stage)
    _wait_for_outputs(stage, screen)
    inbox = _Inbox(stage)
    inbox.start()
    while not stage.stopped():
        try:
            info, frame = inbox.frames.get(timeout=_SLICE)
        except queue.Empty:
            if inbox.ended.is_set():
                break
            screen.hear()
            screen.fill()
            continue
        screen.hear()
        screen.show(info, frame)
    if inbox.failure is not None:
        raise inbox.failure
    screen.close()
    inbox.closed.set()
    inbox.join(2.0)


def _wait_for_outputs(stage: LiveStage, screen: Screen) -> None:
    """An output that comes after the first frame misses all up to the next keyframe."""
    deadline = time.monotonic() + _OUTPUTS_START[stage.told.number > 0]
    while not screen.has_outputs() and not stage.stopped() and time.monotonic() < deadline:
        time.sleep(0.01)
