"""One output of a live stream: takes packets from the encoder and writes them where they go, and tries again.

It runs in a process of its own, where it may hang without anybody else noticing but the front, which replaces it.
"""

from __future__ import annotations

import time

import zmq

from pipeline.errors import DerainError
from pipeline.live.backoff import Backoff
from pipeline.live.messages import Close, Coded, unpack
from pipeline.live.notes import Notes
from pipeline.live.stage import LiveStage
from pipeline.live_status import NOT_BEGUN
from pipeline.redact import redact
from pipeline.sinks.live import live_destination
from pipeline.sinks.live_muxer import LiveMuxer
from pipeline.sinks.virtual_camera import VirtualCamera

_SLICE_MS = 100
_WAITING = 16
"""Packets that wait here; more wait at the encoder, which then leaves some out."""


def run(stage: LiveStage) -> None:
    """Write until told to close, or asked to stop."""
    work = Output(stage)
    source: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PULL)
    source.setsockopt(zmq.RCVHWM, _WAITING)
    source.setsockopt(zmq.LINGER, 0)
    source.setsockopt(zmq.RECONNECT_IVL, 20)
    source.connect(stage.told.address(f"out{stage.told.output}"))
    while not stage.stopped():
        if not source.poll(_SLICE_MS):
            continue
        parts = source.recv_multipart()
        message = unpack(parts[0])
        if isinstance(message, Close):
            break
        if not isinstance(message, Coded):
            raise DerainError("an output got something else than packets from the encode stage")
        work.take(message, parts[1], parts[2] if len(parts) > 2 else b"")
    work.close()
    source.close()


class Output:
    """The destination, and when to try it again."""

    def __init__(self, stage: Notes) -> None:
        self._stage, order = stage, stage.order
        destination = live_destination(
            order.destinations[stage.told.output],
            overwrite=True,  # the front has looked; meanwhile it may be a part of this recording
            encoder="",
            sound=False,
        )
        self._to: LiveMuxer | VirtualCamera = (
            VirtualCamera(destination.address)
            if destination.kind == "camera"
            else LiveMuxer(
                destination,
                stdout=stage.told.stdout,
                segment_time=order.segment_time,
                keep=order.keep_segments,
                overwrite=order.overwrite and not stage.told.number,
            )
        )
        self._backoff = Backoff(0.5, 8.0)
        self._next = 0.0
        self._away = ""
        """Why it is, while it is."""
        self._gone = False
        """Whether nobody will ever read on: a closed pipe does not come back."""
        stage.texts["output"] = NOT_BEGUN[1]

    def take(self, coded: Coded, data: bytes, codecs: bytes) -> None:
        """Write a packet, or leave it out where the destination is away."""
        began = time.monotonic()
        try:
            if not self._to.is_open:
                if self._gone or not codecs or began < self._next:
                    self._stage.count("dropped", coded.stream == 0)
                    return
                self._to.open(coded, codecs)
                self._backoff.reset()
                self._away, self._stage.texts["output"] = "", "open"
                self._stage.count("opened")
            self._to.write(coded, data, codecs)
            self._stage.count("packets", coded.stream == 0)
            self._stage.counters["left_out"] = self._to.left_out
        except DerainError as error:
            self._to.abandon()
            self._next = time.monotonic() + self._backoff.next()
            self._away, self._gone = str(error), self._stage.order.destinations[self._stage.told.output] == "-"
            self._stage.texts["output"] = f"{'failed' if self._gone else 'waiting'}: {error}"
            self._stage.texts["error"] = str(error)
            self._stage.count("dropped", (coded.stream == 0) + self._lost())
        if isinstance(self._to, LiveMuxer) and self._to.gave_way:
            shown = redact(self._stage.order.destinations[self._stage.told.output])
            self._stage.warn(f"{shown}: the disk was full, and the oldest segments were removed to go on")
        self._stage.busy(time.monotonic() - began)

    def close(self) -> None:
        """Close what is open; what did not get there, and where the destination is away at the end, is told."""
        try:
            self._to.close()
        except DerainError as error:
            self._away = str(error)
            self._stage.texts["error"] = self._away
            self._stage.count("dropped", self._lost())
        if missing := self._stage.counters.get("dropped", 0):
            why = self._stage.texts.get("error") or redact(self._stage.order.destinations[self._stage.told.output])
            self._stage.warn(f"{why}: {missing} encoded frames did not get there")
        self._stage.texts["output"] = f"failed: {self._away}" if self._away else "closed"

    def _lost(self) -> int:
        """Frames that were taken before and have not got there."""
        if not isinstance(self._to, LiveMuxer):
            return 0
        lost, self._to.lost = self._to.lost, 0
        return lost
