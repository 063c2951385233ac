"""Stages on several hosts: the derain stage between decode and encode stages, restarts in any order, wires cut."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from shutil import rmtree

import numpy as np
import pytest
import zmq

from pipeline.errors import DerainError
from pipeline.frame import Frame, StreamInfo
from pipeline.hosts.doors import ClientDoor, ServerDoor
from pipeline.hosts.receiver import StreamReceiver
from pipeline.hosts.sender import StreamSender
from pipeline.wire import Failure, FrameMsg, Join, StageFailed, pack, unpack
from tests.host_stages import INFO, WAIT, Encode, Server, check, decode, frame, until
from tests.proxy import Proxy
from tests.running import Running


@pytest.fixture
def address() -> Iterator[str]:
    folder = tempfile.mkdtemp()
    yield f"ipc://{folder}/derain"
    rmtree(folder)


def test_several_streams_go_through_one_derain_stage_each_to_its_own_end(address: str) -> None:
    server = Server(ServerDoor(address))
    door = ClientDoor(address)
    senders = [Running(lambda n=n: decode(door, f"s{n}", 20 + n)) for n in range(3)]
    encoders = [Running(lambda n=n: Encode(door, f"s{n}")) for n in range(3)]
    for number in range(3):
        encoded = encoders[number].outcome()
        assert isinstance(encoded, Encode) and encoded.done
        check(encoded.frames, 20 + number)
        senders[number].outcome()
    server.stop()
    assert (server.served.streams, server.served.failed, server.served.frames) == (3, 0, 63)


@pytest.mark.parametrize("first", ["derain", "decode", "encode"])
def test_stages_may_come_in_any_order(address: str, first: str) -> None:
    order = [first, *(name for name in ("encode", "decode", "derain") if name != first)]
    started: dict[str, object] = {}
    for name in order:
        if name == "derain":
            started[name] = Server(ServerDoor(address))
        elif name == "decode":
            started[name] = Running(lambda: decode(ClientDoor(address), "cam", 12))
        else:
            started[name] = Running(lambda: Encode(ClientDoor(address), "cam"))
        time.sleep(0.2)
    encoded = started["encode"].outcome()  # type: ignore[attr-defined]
    check(encoded.frames, 12)
    started["decode"].outcome()  # type: ignore[attr-defined]
    started["derain"].stop()  # type: ignore[attr-defined]


@pytest.mark.parametrize("scheme", ["ipc", "tcp"])
def test_a_restarted_derain_stage_loses_and_doubles_nothing(address: str, scheme: str) -> None:
    url = address if scheme == "ipc" else "tcp://127.0.0.1:*"
    server = Server(ServerDoor(url, plain=scheme == "tcp"))
    door = ClientDoor(server.url, plain=scheme == "tcp")
    sending = Running(lambda: decode(door, "cam", 60))
    encoding = Running(lambda: Encode(door, "cam", pause=0.02))
    for _ in range(2):
        before = server.served.frames + 8
        until(lambda: server.served.frames >= before)  # noqa: B023
        server.stop()
        time.sleep(0.3)
        server = Server(ServerDoor(server.url, plain=scheme == "tcp"))
        before = 0
        until(lambda: server.served.frames > 0)  # noqa: B023
    encoded = encoding.outcome()
    assert isinstance(encoded, Encode) and encoded.done and encoded.reconnects >= 2
    check(encoded.frames, 60)
    sent = sending.outcome()
    assert isinstance(sent, StreamSender) and sent.reconnects >= 2
    server.stop()


def test_membranes_lost_with_their_derain_stage_are_a_reset_with_that_reason(address: str) -> None:
    server, door = Server(ServerDoor(address), "stream-nano"), ClientDoor(address)
    sending = Running(lambda: decode(door, "cam", 16))
    encoding = Running(lambda: Encode(door, "cam", pause=0.1))
    until(lambda: server.served.frames >= 6)
    server.stop()
    server = Server(ServerDoor(address), "stream-nano")
    encoded = encoding.outcome()
    sending.outcome()
    server.stop()
    assert isinstance(encoded, Encode)
    assert [f.header.index for f in encoded.frames] == list(range(16))
    resets = [f.header.reset for f in encoded.frames if f.header.reset not in ("", "scene_cut")]
    assert resets == ["start", "restart"]
    assert server.served.resets["restart"] == 1


def test_a_restarted_decode_stage_goes_on_where_it_was(address: str) -> None:
    server, door = Server(ServerDoor(address)), ClientDoor(address)
    encoding = Running(lambda: Encode(door, "cam"))
    first = StreamSender(door, "cam", patience=WAIT)
    first.join(INFO)
    for index in range(9):
        first.send(frame(index))
    first._shut(1000)  # killed: its connection ends without a word
    again = decode(door, "cam", 30)
    encoded = encoding.outcome()
    assert isinstance(encoded, Encode)
    check(encoded.frames, 30)
    assert again.frames == 30
    first._open()
    first.close()
    server.stop()
    assert server.served.frames == 30, "no frame was derained twice"


def test_a_restarted_encode_stage_begins_its_file_again_and_gets_it_whole(address: str) -> None:
    server, door = Server(ServerDoor(address)), ClientDoor(address)
    sending = Running(lambda: decode(door, "cam", 40))
    assert len(Encode(door, "cam", leave_after=15).frames) == 15
    encoded = Encode(door, "cam")
    assert encoded.done
    check(encoded.frames, 40)
    sending.outcome()
    server.stop()


def test_an_encode_stage_that_only_lost_its_connection_gets_what_was_on_the_way(address: str) -> None:
    """What was derained is sent again as it was: nothing goes through the network twice."""
    server, door = Server(ServerDoor(address)), ClientDoor(address)
    sending = Running(lambda: decode(door, "cam", 40))
    got: list[Frame] = []
    with StreamReceiver(door, "cam", patience=WAIT) as link:
        link.join()
        for one in link.frames():
            got.append(Frame(one.header, one.pixels.copy()))
            if one.header.index in (5, 17):
                time.sleep(0.1)  # several are on the way
                link.count += 1
                link._rejoin()
                link.count -= 1
        assert link.acknowledge()
    check(got, 40)
    sending.outcome()
    server.stop()
    assert server.served.frames == 40


def test_live_numbers_go_on_and_what_was_on_its_way_is_counted(address: str) -> None:
    server, door = Server(ServerDoor(address)), ClientDoor(address)
    encoding = Running(lambda: Encode(door, "cam", pause=0.005))
    offered = 0
    with StreamSender(door, "cam", live=True, patience=WAIT) as link:
        link.join(INFO)

        def offer() -> None:
            nonlocal offered
            made = frame(link.frames)
            offered += link.try_send(made)
            time.sleep(0.005)

        while offered < 20:
            offer()
        server.stop()
        server = Server(ServerDoor(address))
        deadline = time.monotonic() + WAIT
        while link.reconnects == 0 or not link._joined or offered < 40:
            assert time.monotonic() < deadline
            offer()
        link.finish()
        encoded = encoding.outcome()
        assert isinstance(encoded, Encode)
        check(encoded.frames, len(encoded.frames))
        assert len(encoded.frames) == offered - link.lost
    server.stop()


def test_a_failing_stream_ends_with_the_reason_and_the_others_go_on(address: str) -> None:
    server, door = Server(ServerDoor(address)), ClientDoor(address)
    good, bad = (Running(lambda n=n: Encode(door, n)) for n in ("good", "bad"))
    sending = Running(lambda: decode(door, "good", 40))
    context = zmq.Context()
    peer = door.open(context)
    peer.send(pack(Join(protocol=1, stream="bad", role="decode", info=INFO)))
    peer.recv()
    peer.send_multipart([pack(FrameMsg(frame(0).header, 1)), b"short"])
    with pytest.raises(StageFailed, match="5 bytes of pixels"):
        bad.outcome()
    assert peer.poll(int(WAIT * 1000))
    while not isinstance(said := unpack(peer.recv()), Failure):
        pass
    assert "5 bytes of pixels" in said.text
    sending.outcome()
    encoded = good.outcome()
    assert isinstance(encoded, Encode)
    check(encoded.frames, 40)
    peer.close(0)
    context.term()
    server.stop()
    assert server.served.failed == 1


def test_another_video_under_the_name_of_a_running_stream_is_refused(address: str) -> None:
    server, door = Server(ServerDoor(address)), ClientDoor(address)
    with StreamSender(door, "cam") as link:
        link._info = INFO
        link._post(link._joining())
        until(lambda: any("decode stage is here" in line for line in server.said))
        with StreamSender(door, "cam") as other, pytest.raises(StageFailed, match="under way with another video"):
            other.join(StreamInfo(width=32, height=32, pixel_format="gray", time_base=(1, 25)))
    server.stop()


def test_waiting_has_an_end(address: str) -> None:
    with (
        StreamSender(ClientDoor(address), "cam", patience=0.3) as link,
        pytest.raises(DerainError, match="does a derain stage listen there"),
    ):
        link.join(INFO)
    server = Server(ServerDoor(address))
    with (
        StreamSender(ClientDoor(address), "cam", patience=1) as link,
        pytest.raises(DerainError, match="no encode stage has joined the stream within 1 s"),
    ):
        link.join(INFO)
    server.stop()


def test_a_stream_nobody_comes_back_to_is_given_up(address: str) -> None:
    server = Server(ServerDoor(address), patience=1.0)
    receiving = Running(lambda: Encode(ClientDoor(address), "cam"))
    with pytest.raises(StageFailed, match="no decode stage for 1 s"):
        receiving.outcome()
    server.stop()


def test_a_wire_cut_at_any_byte_loses_and_doubles_nothing() -> None:
    server = Server(ServerDoor("tcp://127.0.0.1:*", plain=True))
    proxy = Proxy(server.url)
    door = ClientDoor(proxy.url, plain=True)
    sending = Running(lambda: decode(door, "cam", 120))
    encoding = Running(lambda: Encode(door, "cam", pause=0.005))
    rng = np.random.default_rng(1)
    for _ in range(6):
        before = server.served.frames + int(rng.integers(3, 12))
        until(lambda: server.served.frames >= min(before, 120))  # noqa: B023
        proxy.cut()
    encoded = encoding.outcome()
    assert isinstance(encoded, Encode) and encoded.done
    check(encoded.frames, 120)
    sent = sending.outcome()
    assert isinstance(sent, StreamSender) and sent.reconnects + encoded.reconnects >= 2
    server.stop()
    proxy.close()
    assert server.served.frames == 120, "what was derained once is not derained again"
