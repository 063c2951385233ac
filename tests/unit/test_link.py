"""The link: order, credit, end of stream, and what each end hears when the other fails or goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq

from pipeline.errors import DerainError, UsageError
from pipeline.frame import Frame, FrameHeader
from pipeline.link import Receiver, Sender, Stopped
from pipeline.wire import End, Failure, FrameMsg, Hello, StageFailed, pack
from tests.link_ends import INFO, TRANSPORTS, both_ends, frame, ipc_address, raw_peer
from tests.running import WAIT, Running


@pytest.fixture(params=TRANSPORTS)
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[Sender, Receiver]]:
    with both_ends(request.param) as ends:
        yield ends


@pytest.fixture
def ipc() -> Iterator[str]:
    with ipc_address() as address:
        yield address


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


PEER = """
import sys, time
from pipeline.link import Sender
from tests.link_ends import INFO, frame
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
