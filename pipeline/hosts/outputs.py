"""The outputs of a live stream at an encode stage: processes of their own, replaced where they die or hang."""

from __future__ import annotations

import subprocess
import sys
import time

import msgspec
import zmq

from pipeline.live.child import LiveChild
from pipeline.live.messages import LiveStageOrder, StageReport, unpack
from pipeline.live.nursery import launch
from pipeline.live.session import CLOSE
from pipeline.live.tally import Tally
from pipeline.redact import redact, scrub
from pipeline.wire import Failure

_PAUSES = (0.0, 0.5, 2.0, 8.0)
"""Seconds before another is started, by how many in a row have ended without having written anything."""


class Outputs:
    """Runs one process for each destination of the order (`pipeline.live.output`). They take packets from the
    `pipeline.live.fan.Fan` of the same folder, which never waits for them, and do not outlive this process.

    Args:
        told: The order, the folder for sockets, and this process as parent. Its `stdout` must be above 2.
    """

    def __init__(self, told: LiveStageOrder) -> None:
        self._told = told
        self._children = [LiveChild(f"output{number}") for number in range(len(told.order.destinations))]
        self._barren = [0] * len(self._children)
        self._tally = Tally(told.order)
        self._front: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PULL)
        self._front.setsockopt(zmq.LINGER, 0)
        self._front.bind(told.address("front"))
        self.look()

    @property
    def restarts(self) -> int:
        """How many died, or were killed because they hung."""
        return sum(self._tally.restarts.values())

    def look(self) -> None:
        """Hear what they say, and replace those that are gone. To be called several times a second."""
        self._hear(0)
        now = time.monotonic()
        for number, child in enumerate(self._children):
            if child.process is None:
                if now >= child.due:
                    child.begin(self._started(number, child.number))
            elif child.gone(now):  # also done, as one is that somebody sends SIGTERM: `close` comes later
                self._barren[number] = 0 if child.worked else self._barren[number] + 1
                child.process = None
                child.number += 1
                child.due = now + _PAUSES[min(self._barren[number], len(_PAUSES) - 1)]
                self._tally.restarts[child.name] = child.number

    def close(self) -> None:
        """Wait until they have closed what they write, as the fan has told them to. Who does not in time is killed."""
        deadline = time.monotonic() + CLOSE
        while time.monotonic() < deadline and any(child.alive and not child.done for child in self._children):
            self._hear(50)
        for child in self._children:
            if child.process is not None:
                try:
                    child.process.wait(0.5 if child.done else 0.0)
                except subprocess.TimeoutExpired:
                    child.process.kill()
                    child.process.wait()
        self._hear(0)
        self._front.close()

    def dropped(self, at_fan: list[int]) -> dict[str, int]:
        """Frames that each destination did not get, by its address without credentials.

        Args:
            at_fan: How many of them the fan left out.
        """
        return {
            redact(address): at_fan[number] + self._tally.total(f"output{number}", "dropped")
            for number, address in enumerate(self._told.order.destinations)
        }

    def warnings(self) -> list[str]:
        """What went wrong with them, a line each."""
        said = list(self._tally.status("stopped").warnings)
        for number, address in enumerate(self._told.order.destinations):
            name = f"output{number}"
            if error := self._tally.text(name, "error"):
                said.append(error)
            if times := self._tally.restarts.get(name, 0):
                said.append(f"{redact(address)}: the process that writes it was replaced {times} times")
        return list(dict.fromkeys(said))

    def _started(self, output: int, number: int) -> subprocess.Popen[bytes]:
        kept = [self._told.stdout] if self._told.stdout > 2 else []
        told = msgspec.structs.replace(self._told, number=number, output=output)
        command = [sys.executable, "-P", "-m", "pipeline.live.stage", "output"]
        return launch(command, msgspec.json.encode(told), subprocess.DEVNULL, subprocess.DEVNULL, kept, group=False)

    def _hear(self, timeout: int) -> None:
        while self._front.poll(timeout):
            timeout = 0
            message = unpack(self._front.recv())
            if isinstance(message, Failure):
                self._tally.error = scrub(message.text, self._told.order.destinations)
            elif isinstance(message, StageReport):
                self._tally.take(message)
                for child in self._children:
                    if child.name == message.stage:
                        child.heard = time.monotonic()
                        child.worked = child.worked or bool(message.counters.get("packets"))
                        if message.done:
                            child.ended(message.asked)
