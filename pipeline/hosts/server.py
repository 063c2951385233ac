"""The derain stage that serves many streams: takes in frames, derains what is ready together, passes all on.

One thread. While the network is at work libzmq's own threads go on receiving and answering heartbeats. What one stream
does wrong ends that stream, with a word to its two ends; the others do not notice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import zmq

from pipeline.batcher import Batcher
from pipeline.errors import DerainError
from pipeline.frame import Frame
from pipeline.hosts.admission import objection
from pipeline.hosts.client import PATIENCE
from pipeline.hosts.doors import ServerDoor
from pipeline.hosts.post import Post
from pipeline.hosts.served import Served
from pipeline.hosts.streams import BYTES_IN_FLIGHT, FRAMES_IN_FLIGHT, OutOfStep, Stream
from pipeline.wire import (
    PROTOCOL,
    End,
    EndAck,
    Failure,
    Farewell,
    FrameMsg,
    Hello,
    Join,
    Message,
    Probe,
    Resume,
    Written,
    unpack,
)

BATCH_WAIT = 0.004
"""Seconds that a frame which is ready waits for those of other streams, to be derained together."""
_TICK = 1.0
_POLL_MS = 100


class DerainServer:
    """Serves at `door` until `stop` says so.

    Args:
        door: Where to listen, and who is let in.
        batcher: What derains.
        batch_wait: Seconds, see `BATCH_WAIT`.
        patience: Seconds after which a stream with a missing end is given up, 0: never.
        say: Told in a line what happens to streams.
    """

    def __init__(
        self,
        door: ServerDoor,
        batcher: Batcher,
        *,
        batch_wait: float = BATCH_WAIT,
        patience: float = PATIENCE,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._batcher, self._wait, self._patience, self._say = batcher, batch_wait, patience, say
        self._post = Post(door)
        self._send = self._post.send
        self._streams: dict[str, Stream] = {}
        self._of: dict[bytes, Stream] = {}
        self._ready_since: float | None = None
        self._ticked = time.monotonic()
        self.served = Served()

    @property
    def url(self) -> str:
        """The address, with the port that ``tcp://*:*`` got."""
        return self._post.url

    def run(self, stop: Callable[[], bool]) -> Served:
        """Serve. What the streams hold is lost at the end; their stages wait for the next derain stage."""
        while not stop():
            for peer, parts in self._post.come(self._timeout()):
                self._message(peer, parts)
            now = time.monotonic()
            ready = [stream for stream in self._streams.values() if stream.ready]
            if not ready:
                self._ready_since = None
            elif self._enough(now):
                self._derain(ready)
            if now - self._ticked >= _TICK:
                self._ticked = now
                self._tick(now)
        return self.served

    def close(self) -> None:
        self._post.close()
        self._batcher.close()

    def _timeout(self) -> int:
        """Milliseconds to wait for a message."""
        if self._ready_since is None:
            return _POLL_MS
        return math.ceil(max(0.0, self._ready_since + self._wait - time.monotonic()) * 1000)

    def _enough(self, now: float) -> bool:
        """Whether to go on with what is ready: nobody else may join in, or we have waited long enough."""
        if self._ready_since is None:
            self._ready_since = now
        if now - self._ready_since < self._wait and any(stream.expects for stream in self._streams.values()):
            return False
        self._ready_since = None
        return True

    def _message(self, peer: bytes, parts: list[zmq.Frame]) -> None:
        stream = self._of.get(peer)
        try:
            message = unpack(parts[0].buffer if parts else b"")
            if isinstance(message, Join):
                self._join(peer, message)
            elif stream is None:
                self._from_stranger(message)
            elif isinstance(message, Failure):
                self._drop(stream, message)
            elif peer == stream.decode:
                self._from_decode(stream, message, parts)
            else:
                self._from_encode(stream, message)
        except (OutOfStep, DerainError) as error:
            if stream := self._of.get(peer):
                self._drop(stream, Failure("derain", "failed", f"stream {stream.name}: {error}"))
            else:
                self._send(peer, Failure("derain", "failed", str(error)))

    def _from_stranger(self, message: Message) -> None:
        """Of a stream that has ended, a stage that another has replaced, or one that fails before it has joined."""
        if not isinstance(message, Failure) or (stream := self._streams.get(message.stream)) is None:
            return
        peer = {"decode": stream.decode, "encode": stream.encode}.get(message.stage, b"")
        if peer is None or message.stage in stream.gone_since:
            self._drop(stream, message)

    def _from_decode(self, stream: Stream, message: Message, parts: list[zmq.Frame]) -> None:
        match message:
            case FrameMsg(header, epoch) if len(parts) == 2:
                stream.come(Frame(header, np.frombuffer(parts[1].buffer, np.uint8)), epoch)
            case End():
                stream.ends(message)
                self._end(stream)
            case _:
                raise OutOfStep(f"an unexpected {type(message).__name__} of the decode stage")

    def _from_encode(self, stream: Stream, message: Message) -> None:
        match message:
            case Written(next=number):
                stream.wrote(number)
                self._send(stream.decode, message)
            case EndAck(frames):
                stream.closed = frames
                self._finish(stream)
            case _:
                raise OutOfStep(f"an unexpected {type(message).__name__} of the encode stage")

    def _join(self, peer: bytes, join: Join) -> None:
        """Somebody is there, perhaps again."""
        if problem := objection(join, self._streams):
            self._send(peer, Failure("derain", "failed", problem))
            return
        stream = self._streams.setdefault(join.stream, Stream(join.stream))
        before = stream.decode if join.role == "decode" else stream.encode
        if before not in (None, peer):
            self._of.pop(before, None)
            gone = f"another {join.role} stage has joined stream {join.stream} in this one's place"
            self._send(before, Failure("derain", "failed", gone))
        self._of[peer] = stream
        stream.gone_since.pop(join.role, None)
        self.served.joins += 1
        self._say(f"stream {stream.name}: {join.role} stage is here{' again' if before else ''}")
        if join.role == "decode":
            stream.decode = peer
            if stream.info is None:
                stream.info = join.info
            if stream.encode is not None:
                self._meet(stream, anew=stream.lane is None)
        else:
            stream.encode, stream.wanted = peer, join.next
            stream.encode_frames, stream.encode_bytes = join.frames, join.bytes
            stream.closed = join.next if join.done else None
            if stream.decode is not None:
                self._meet(stream, anew=True)

    def _meet(self, stream: Stream, *, anew: bool) -> None:
        """Both ends are there: bring all three of us to the same frame. `anew`: encode has told what it wants."""
        assert stream.info is not None
        if stream.lane is None:
            stream.lane = self._batcher.open(stream.info)
            stream.rewind(stream.wanted)
            if stream.wanted and stream.closed is None:
                stream.lane.forget("restart")
            self.served.streams += 1
        elif anew and not stream.written <= stream.wanted <= stream.sent:
            if stream.wanted > stream.sent:
                raise OutOfStep(f"the encode stage wants frame {stream.wanted}, with {stream.sent} sent")
            stream.rewind(stream.wanted)
            if not stream.info.live:  # there nothing comes a second time
                stream.lane.forget("rewind")
        elif anew:
            stream.wrote(stream.wanted)
        stream.epoch += 1
        if anew and stream.closed is None:
            self._send(stream.encode, Hello(PROTOCOL, stream.info))
            for frame in stream.unwritten:
                self._pass_on(stream, frame)
            stream.end_sent = False
        self._send(
            stream.decode,
            Resume(
                protocol=PROTOCOL,
                epoch=stream.epoch,
                next=stream.arrived,
                written=stream.written,
                frames=FRAMES_IN_FLIGHT,
                bytes=BYTES_IN_FLIGHT,
                info=stream.info,
            ),
        )
        if stream.closed is not None:
            self._finish(stream)
        else:
            self._end(stream)

    def _derain(self, ready: list[Stream]) -> None:
        """One frame of each of these streams."""
        work = [(stream.lane, stream.queue.popleft()) for stream in ready if stream.lane]
        for stream, result in zip(ready, self._batcher.step(work), strict=True):
            if isinstance(result, Exception):
                self._drop(stream, Failure.of("derain", result))
                continue
            stream.went(result)
            self._pass_on(stream, result)
            self.served.frames += 1
            self._end(stream)
        self.served.steps = self._batcher.steps or None

    def _pass_on(self, stream: Stream, frame: Frame) -> None:
        self._send(stream.encode, FrameMsg(frame.header), frame.pixels.data)

    def _end(self, stream: Stream) -> None:
        """Pass the end on, once everything before it has gone."""
        if stream.end and stream.finished and stream.encode is not None and not stream.end_sent:
            self._send(stream.encode, End(stream.end.frames, stream.end.damaged))
            stream.end_sent = True

    def _finish(self, stream: Stream) -> None:
        """The encode stage has closed its file."""
        assert stream.closed is not None
        if stream.end is not None and stream.closed != stream.end.frames:
            raise OutOfStep(f"the file was closed with {stream.closed} frames instead of {stream.end.frames}")
        self._send(stream.decode, EndAck(stream.closed))
        self._send(stream.encode, Farewell())
        self._say(f"stream {stream.name}: done, {stream.closed} frames")
        self._forget(stream)

    def _drop(self, stream: Stream, failure: Failure) -> None:
        """This stream can't go on; both its ends hear why."""
        self.served.failed += 1
        prefix = f"stream {stream.name}: "
        self._say(prefix + failure.text.removeprefix(prefix))
        for peer in (stream.decode, stream.encode):
            self._send(peer, failure)
        self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        del self._streams[stream.name]
        for peer in (stream.decode, stream.encode):
            self._of.pop(peer or b"", None)
        for reason, count in (stream.lane.resets if stream.lane else {}).items():
            self.served.resets[reason] = self.served.resets.get(reason, 0) + count

    def _tick(self, now: float) -> None:
        """Notice who has gone, and give up streams that nobody comes back to."""
        for stream in list(self._streams.values()):
            for role, peer in (("decode", stream.decode), ("encode", stream.encode)):
                if peer is not None and self._send(peer, Probe()):
                    stream.gone_since.pop(role, None)
                    continue
                since = stream.gone_since.setdefault(role, now)
                if since == now and peer is not None:
                    self._say(f"stream {stream.name}: the {role} stage has gone")
                if self._patience and now - since > self._patience:
                    text = f"stream {stream.name}: no {role} stage for {self._patience:g} s (--patience), given up"
                    self._drop(stream, Failure("derain", "failed", text))
                    break
