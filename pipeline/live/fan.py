"""From the one encoder to the outputs: each gets every packet, and one that is slow misses some."""

from __future__ import annotations

import zmq

from pipeline.live.encoder import Made
from pipeline.live.messages import Close, pack
from pipeline.live.notes import Notes

WAITING = 256
"""Packets that may wait for an output: about five seconds of pictures and sound."""
_LAST_WORD_MS = 2000


class Fan:
    """Sends packets to the outputs of a stream, and never waits for one.

    An output that has not taken what waits for it, or is just being replaced, gets nothing more until the next
    keyframe, as what comes before that could not be decoded without the missing packets.
    """

    def __init__(self, stage: Notes) -> None:
        self._stage = stage
        self._sockets: list[zmq.Socket[bytes]] = []
        self._behind: list[bool] = []
        for number in range(len(stage.order.destinations)):
            socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
            socket.setsockopt(zmq.LINGER, _LAST_WORD_MS)
            socket.setsockopt(zmq.SNDHWM, WAITING)
            socket.bind(stage.told.address(f"out{number}"))
            self._sockets.append(socket)
            self._behind.append(True)

    def there(self) -> bool:
        """Whether every output is connected; what is sent before that it misses, up to the next keyframe."""
        return all(socket.poll(0, zmq.POLLOUT) for socket in self._sockets)

    def send(self, made: list[Made]) -> None:
        for coded, data, codecs in made:
            parts = [pack(coded), data, codecs] if codecs else [pack(coded), data]
            for number, socket in enumerate(self._sockets):
                if self._behind[number] and not codecs:
                    self._miss(number, coded.stream)
                    continue
                try:
                    socket.send_multipart(parts, zmq.NOBLOCK)
                    self._behind[number] = False
                except zmq.Again:
                    self._behind[number] = True
                    self._miss(number, coded.stream)

    def close(self) -> None:
        """Tell all outputs that nothing follows; those that do not listen are told no more than two seconds long."""
        for socket in self._sockets:
            socket.setsockopt(zmq.SNDTIMEO, _LAST_WORD_MS)
            try:
                socket.send(pack(Close()))
            except zmq.Again:
                continue
            finally:
                socket.close()

    def _miss(self, number: int, stream: int) -> None:
        if stream == 0:
            self._stage.count(f"sink_dropped_{number}")
