"""The decode stage of a live source by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from pipeline.frame import Frame, StreamInfo
from pipeline.hosts.decode_live import decode_live
from pipeline.hosts.sender import StreamSender
from pipeline.live_status import LiveOrder


class Taken:
    """A way to a derain stage that takes all there is."""

    stream, frames, lost, reconnects = "main", 0, 0, 0

    def join(self, info: StreamInfo, stop: Callable[[], bool]) -> None:
        self.info = info

    def room(self, size: int, timeout: float) -> bool:
        return True

    def try_send(self, frame: Frame) -> bool:
        self.frames += 1
        return True

    def finish(self, damaged: int) -> None: ...


@pytest.mark.timeout(60)
def test_nobody_reads_on_when_it_has_ended() -> None:
    """The reading thread was left where it was, in the midst of FFmpeg's libraries: once in a while the process, done
    and all told, died of SIGSEGV on its way out."""
    link: Any = Taken()
    order = LiveOrder(id="main", source="lavfi:testsrc2=size=64x48:rate=5", audio=False, model="identity")
    result = decode_live(order, cast(StreamSender, link), lambda: link.frames >= 3)
    assert not [thread for thread in threading.enumerate() if thread.name == "reader"]
    assert result.read == result.frames + result.dropped
