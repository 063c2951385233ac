"""The link: how many frames may be on their way, and who says when another may go."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import zmq

from pipeline.link import Receiver, Sender
from pipeline.wire import Credit, FrameMsg, Hello, Welcome, pack
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
        frames = receiver.frames(in_flight=1)
        next(frames)
        peer.recv()  # the welcome
        assert not peer.poll(200)
        next(frames)
        assert peer.recv() == pack(Credit(1, frame(0).pixels.nbytes))
        peer.close()


@pytest.mark.parametrize(("given", "expected"), [({}, [4, 4]), ({"in_flight": 3}, [3, 3, 3]),
                                                          ({"bytes_in_flight": 3}, [2, 2, 2, 2])])  # fmt: skip
def test_credit_goes_back_for_some_frames_together_but_never_too_late(
    ipc: str, given: dict[str, int], expected: list[int]
) -> None:
    """Each message wakes both ends. What is held back is always less than what a sender that waits has sent."""
    size = frame(0).pixels.nbytes
    window = {name: 4 * size - 1 if name == "bytes_in_flight" else value for name, value in given.items()}
    with zmq.Context() as context, Receiver(ipc, bind=True, stage="a", peer="b", context=context) as receiver:
        peer = raw_peer(ipc, context)
        peer.send(pack(Hello(1, INFO)))
        for index in range(10):
            peer.send_multipart([pack(FrameMsg(frame(index).header)), frame(index).pixels])
        receiver.accept(WAIT)
        frames = receiver.frames(**window)
        for _ in range(10):
            next(frames)
        peer.recv()  # the welcome
        for count in expected:
            assert peer.recv() == pack(Credit(count, count * size))
        assert not peer.poll(100)
        peer.close()


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
