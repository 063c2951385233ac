"""The encode stage by itself, of a live stream: what can be watched while it is written, and goes on over losses."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import msgspec

from pipeline.frame import StreamInfo
from pipeline.hosts.outputs import Outputs
from pipeline.hosts.receiver import StreamReceiver
from pipeline.link import Stopped
from pipeline.live.encoder import live_settings
from pipeline.live.messages import LiveStageOrder
from pipeline.live.notes import Notes
from pipeline.live.screen import Screen
from pipeline.live_status import LiveOrder
from pipeline.private_folder import private_folder
from pipeline.sinks.live import live_destination

_LOOK_EVERY = 0.05
_START = 10.0
"""Seconds that the processes which write may take to start before frames are taken all the same."""


class LiveWritten(msgspec.Struct, kw_only=True):
    """How it went."""

    filled: int  # frames of ours, shown while none came
    sink_dropped: dict[str, int]  # frames that a destination did not get, by its address without credentials
    restarts: int  # of the processes that write
    resets: dict[str, int]
    warnings: list[str]


def write_live(order: LiveOrder, link: StreamReceiver, info: StreamInfo) -> LiveWritten:
    """Write the link's frames until they end or the link is asked to stop, which is how a live stream is left: whatever
    ends them, what was written is closed.

    A frame counts as written when it is encoded: destinations are processes of their own, for which nobody waits. While
    none comes the last one is shown again (`pipeline.live.screen`).

    Raises:
        UsageError: A destination can't be meant, or codec and quality don't fit.
        DerainError: A destination can't be written, or another stage has failed.
    """
    encoder = live_settings(order, info).codec
    for destination in order.destinations:
        live_destination(destination, overwrite=order.overwrite, encoder=encoder, sound=False)
    resets: dict[str, int] = {}
    stdout = os.dup(1) if "-" in order.destinations else -1
    info = msgspec.structs.replace(info, sound=False)
    with private_folder() as folder:
        told = LiveStageOrder(order=order, parent=os.getpid(), folder=folder, epoch=time.monotonic(), stdout=stdout)
        notes = Notes(told)
        screen, outputs = Screen(notes), Outputs(told)

        def idle() -> None:
            outputs.look()
            screen.fill()

        try:
            deadline = time.monotonic() + _START
            while not screen.has_outputs() and time.monotonic() < deadline:
                outputs.look()
                time.sleep(_LOOK_EVERY)
            with suppress(Stopped):
                for frame in link.frames(_LOOK_EVERY, idle):
                    screen.show(info, frame)
                    outputs.look()
                    if reason := frame.header.reset:
                        resets[reason] = resets.get(reason, 0) + 1
        finally:
            screen.close()
            outputs.close()
            if stdout >= 0:
                with suppress(OSError):
                    os.close(stdout)
    at_fan = [notes.counters.get(f"sink_dropped_{number}", 0) for number in range(len(order.destinations))]
    return LiveWritten(
        filled=notes.counters.get("filled", 0),
        sink_dropped=outputs.dropped(at_fan),
        restarts=outputs.restarts,
        resets=resets,
        warnings=[*notes.warnings, *outputs.warnings()],
    )
