"""The link: order, credit, end of stream, and what each end hears when the other fails or goes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq

from pipeline.errors import DerainError, UsageError
from pipeline.frame import Frame, FrameHeader, StreamInfo, frame_bytes
from pipeline.link import Receiver, Sender, Stopped
from pipeline.wire import Credit, End, Failure, FrameMsg, Hello, StageFailed, Welcome, pack

INFO = StreamInfo(width=64, height=48, pixel_format="yuv420p", time_base=(1, 25))
WAIT = 20.0  # seconds after which a test gives up


def frame(index: int, width: int = 64, height: int = 48) -> Frame:
    header = FrameHeader(index=index, pts=index * 3 - 7, width=width, height=height, pixel_format="yuv420p")
    pixels = np.random.default_rng(index).integers(0, 256, frame_bytes("yuv420p", width, height), np.uint8)
    return Frame(header, pixels)


class Running(threading.Thread):
    """A function in a thread, with its result or error at hand."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.work, self.error, self.result = work, None, None
        self.start()

    def run(self) -> None:
        try:
            self.result = self.work()
        except Exception as error:
            self.error = error

    def outcome(self) -> object:
        self.join(WAIT)
        assert not self.is_alive(), "still waiting"
        if self.error:
            raise self.error
        return self.result


@pytest.fixture(params=["inproc", "ipc", "tcp"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[Sender, Receiver]]:
    """A sender and a receiver over each transport; contexts apart, as in two processes, but for inproc."""
    folder = tempfile.mkdtemp()
    contexts = [zmq.Context(), zmq.Context()]
    url = {"inproc": "inproc://x", "ipc": f"ipc://{folder}/x", "tcp": "tcp://127.0.0.1:*"}[request.param]
    receiver = Receiver(url, bind=True, stage="derain", peer="decode", context=contexts[0])
    sender_context = contexts[0] if request.param == "inproc" else contexts[1]
    sender = Sender(receiver.url, bind=False, stage="decode", peer="derain", context=sender_context)
    yield sender, receiver
    sender.close()
    receiver.close()
    for context in contexts:
        context.term()
    shutil.rmtree(folder)


@pytest.fixture
def ipc(tmp_path: Path) -> Iterator[str]:
    folder = tempfile.mkdtemp()
    yield f"ipc://{folder}/x"
    shutil.rmtree(folder)


def raw_peer(url: str, context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    """A peer that says what the test wants, right or wrong."""
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.rcvtimeo = socket.sndtimeo = int(WAIT * 1000)
    socket.connect(url)
    return socket


def test_frames_arrive_unchanged_in_order_and_the_end_is_acknowledged(ends: tuple[Sender, Receiver]) -> None:
    sender, receiver = ends

    def send() -> None:
        sender.hello(INFO, WAIT)
        for index in range(30):
            sender.send(frame(index))
        sender.finish(damaged=2, timeout=WAIT)

    sending = Running(send)
    assert receiver.accept(WAIT) == INFO
    got = [(f.header, f.pixels.copy()) for f in receiver.frames()]
    assert receiver.end is not None and (receiver.end.frames, receiver.end.damaged) == (30, 2)
    receiver.acknowledge()
    sending.outcome()
    assert len(got) == 30
    for index, (header, pixels) in enumerate(got):
        assert header == frame(index).header
        assert np.array_equal(pixels, frame(index).pixels)


def test_a_failed_sender_ends_the_receiver_with_the_first_cause(ends: tuple[Sender, Receiver]) -> None:
    sender, receiver = ends

    def send() -> None:
        with sender:
            sender.hello(INFO, WAIT)
            sender.send(frame(0))
            raise UsageError("no such camera")

    sending = Running(send)
    receiver.accept(WAIT)

    def drain() -> None:
        for _ in receiver.frames():
            sending.join(WAIT)  # the sender is gone while we still hold a frame: its last words must not be lost

    with pytest.raises(StageFailed, match="no such camera") as caught:
        drain()
    assert (caught.value.failure.stage, caught.value.failure.kind) == ("decode", "usage")


def test_a_failed_receiver_wakes_a_sender_that_waits_for_credit(ends: tuple[Sender, Receiver]) -> None:
    sender, receiver = ends

    def send() -> None:
        sender.hello(INFO, WAIT)
        for index in range(100):
            sender.send(frame(index))

    sending = Running(send)
    receiver.accept(WAIT)
    next(receiver.frames())
    receiver.fail(Failure.of("encode", DerainError("disk full")))
    with pytest.raises(StageFailed, match="disk full"):
        sending.outcome()


def test_no_more_than_the_granted_frames_are_in_flight(ipc: str) -> None:
    with zmq.Context() as context, Sender(ipc, bind=True, stage="a", peer="b", context=context) as sender:
        peer = raw_peer(ipc, context)
        sending = Running(lambda: [sender.hello(INFO, WAIT), *(sender.send(frame(i)) for i in range(5))])
        peer.recv()
        peer.send(pack(Welcome(1, 3, 1 << 30)))
        for _ in range(3):
            peer.recv_multipart()
        assert not peer.poll(300) and sender.frames == 3
        peer.send(pack(Credit(1, frame(0).pixels.nbytes)))
        peer.recv_multipart()
        assert not peer.poll(300) and sender.frames == 4
        peer.send(pack(Credit(1, frame(0).pixels.nbytes)))
        sending.outcome()
        peer.close()


def test_bytes_in_flight_are_bounded_too_but_one_frame_always_goes(ipc: str) -> None:
    size = frame(0).pixels.nbytes
    with zmq.Context() as context, Sender(ipc, bind=True, stage="a", peer="b", context=context) as sender:
        peer = raw_peer(ipc, context)
        sending = Running(lambda: [sender.hello(INFO, WAIT), *(sender.send(frame(i)) for i in range(2))])
        peer.recv()
        peer.send(pack(Welcome(1, 10, size // 2)))
        peer.recv_multipart()
        assert not peer.poll(300) and sender.frames == 1
        peer.send(pack(Credit(1, size)))
        peer.recv_multipart()
        sending.outcome()
        peer.close()


def test_credit_for_a_frame_is_given_back_only_when_the_next_is_asked_for(ipc: str) -> None:
    with zmq.Context() as context, Receiver(ipc, bind=True, stage="a", peer="b", context=context) as receiver:
        peer = raw_peer(ipc, context)
        peer.send(pack(Hello(1, INFO)))
        for index in range(2):
            peer.send_multipart([pack(FrameMsg(frame(index).header)), frame(index).pixels])
        receiver.accept(WAIT)
        frames = receiver.frames()
        next(frames)
        peer.recv()  # the welcome
        assert not peer.poll(200)
        next(frames)
        assert peer.recv() == pack(Credit(1, frame(0).pixels.nbytes))
        peer.close()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([pack(FrameMsg(frame(1).header)), frame(1).pixels], "frame 1 where 0 was due"),
        ([pack(FrameMsg(frame(0).header)), b"short"], "5 bytes of pixels"),
        ([pack(FrameMsg(frame(0).header))], "in 1 parts"),
        ([pack(FrameMsg(FrameHeader(index=0, pts=0, width=2, height=2, pixel_format="x"))), b""], "0 bytes of pixels"),
        ([b"\x81\xa4type\xa3End\xc0"], "not one of protocol"),
        ([b"GET / HTTP/1.1"], "not one of protocol"),
        ([pack(Hello(1, INFO))], "unexpected Hello"),
    ],
)
def test_lost_or_foreign_messages_are_an_error_not_a_short_film(ipc: str, parts: list[bytes], message: str) -> None:
    with zmq.Context() as context, Receiver(ipc, bind=True, stage="a", peer="b", context=context) as receiver:
        peer = raw_peer(ipc, context)
        peer.send(pack(Hello(1, INFO)))
        peer.send_multipart(parts)
        receiver.accept(WAIT)
        with pytest.raises(DerainError, match=message):
            list(receiver.frames())
        peer.close()


def test_an_end_that_counts_more_frames_than_came_is_an_error(ipc: str) -> None:
    with zmq.Context() as context, Receiver(ipc, bind=True, stage="a", peer="b", context=context) as receiver:
        peer = raw_peer(ipc, context)
        for message in (Hello(1, INFO), End(3, 0)):
            peer.send(pack(message))
        receiver.accept(WAIT)
        with pytest.raises(DerainError, match="end after 3 frames, with 0"):
            list(receiver.frames())
        peer.close()


def test_another_protocol_version_is_refused_by_name(ipc: str) -> None:
    with zmq.Context() as context, Receiver(ipc, bind=True, stage="a", peer="b", context=context) as receiver:
        peer = raw_peer(ipc, context)
        peer.send(pack(Hello(99, INFO)))
        with pytest.raises(DerainError, match="link protocol 99"):
            receiver.accept(WAIT)
        peer.close()


def test_an_end_nobody_confirms_times_out(ends: tuple[Sender, Receiver]) -> None:
    sender, receiver = ends
    receiving = Running(lambda: [receiver.accept(WAIT), list(receiver.frames())])
    sender.hello(INFO, WAIT)
    with pytest.raises(DerainError, match=r"did not confirm the end of the stream within 0\.3 s"):
        sender.finish(timeout=0.3)
    receiving.outcome()


def test_nobody_there_times_out(ends: tuple[Sender, Receiver]) -> None:
    sender, receiver = ends
    with pytest.raises(DerainError, match=r"heard nothing of the decode stage for 0\.2 s"):
        receiver.accept(0.2)
    with pytest.raises(DerainError, match=r"did not answer the decode stage within 0\.2 s"):
        sender.hello(INFO, 0.2)


def test_a_wait_ends_when_asked_to_stop(ipc: str) -> None:
    asked = threading.Event()
    with (
        zmq.Context() as context,
        Sender(ipc, bind=True, stage="a", peer="b", context=context, stop=asked.is_set) as sender,
    ):
        waiting = Running(lambda: sender.hello(INFO))
        asked.set()
        with pytest.raises(Stopped):
            waiting.outcome()


def test_wrong_frames_are_refused_before_they_are_sent(ipc: str) -> None:
    with zmq.Context() as context, Sender(ipc, bind=False, stage="a", peer="b", context=context) as sender:
        with pytest.raises(ValueError, match="frame 4 sent where 0 was due"):
            sender.send(frame(4))
        with pytest.raises(ValueError, match="must be 4608 contiguous bytes"):
            sender.send(Frame(frame(0).header, frame(0).pixels[:-1]))


def test_a_url_that_cannot_be_bound_is_one_clear_error() -> None:
    with zmq.Context() as context, pytest.raises(DerainError, match="can't bind ipc:///no/such/folder/x"):
        Receiver("ipc:///no/such/folder/x", bind=True, stage="a", peer="b", context=context)


def test_try_send_says_when_there_is_no_credit_and_never_waits(ends: tuple[Sender, Receiver]) -> None:
    sender, receiver = ends
    given: list[int] = []

    def take() -> None:
        receiver.accept(WAIT)
        for got in receiver.frames(in_flight=2):
            given.append(got.header.index)
            if not given[1:]:
                assert hold.wait(WAIT)

    hold = threading.Event()
    receiving = Running(take)
    sender.hello(INFO, WAIT)
    assert sender.try_send(frame(0)) and sender.try_send(frame(1))
    assert not sender.try_send(frame(2)), "the receiver still holds the first frame"
    assert sender.frames == 2
    hold.set()
    deadline = time.monotonic() + WAIT
    while not sender.try_send(frame(2)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sender.frames == 3
    ending = Running(lambda: sender.finish(timeout=WAIT))
    receiving.outcome()
    receiver.acknowledge()
    ending.outcome()
    assert given == [0, 1, 2]


PEER = """
import sys, time
from pipeline.link import Sender
from tests.unit.test_link import INFO, frame
sender = Sender(sys.argv[1], bind=False, stage="decode", peer="derain")
sender.hello(INFO)
sender.send(frame(0))
time.sleep(60)
"""


@pytest.mark.parametrize(("url", "how"), [("ipc", signal.SIGKILL), ("tcp", signal.SIGKILL), ("tcp", signal.SIGSTOP)])
def test_a_peer_that_is_killed_or_on_tcp_hangs_is_noticed_within_5_s(ipc: str, url: str, how: int) -> None:
    with zmq.Context() as context:
        address = ipc if url == "ipc" else "tcp://127.0.0.1:*"
        receiver = Receiver(address, bind=True, stage="derain", peer="decode", context=context)
        root = Path(__file__).parents[2]
        peer = subprocess.Popen([sys.executable, "-c", PEER, receiver.url], cwd=root)
        try:
            with receiver:
                receiver.accept(WAIT)
                frames = receiver.frames()
                next(frames)
                os.kill(peer.pid, how)
                started = time.monotonic()
                with pytest.raises(StageFailed, match="the derain stage lost the decode stage") as caught:
                    next(frames)
                assert time.monotonic() - started < 5
                assert caught.value.failure.kind == "peer"
        finally:
            peer.kill()
            peer.wait()
