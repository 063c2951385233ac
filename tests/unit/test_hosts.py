"""Stages on several hosts: the derain stage between decode and encode stages, restarts in any order, keys."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
import zmq

from pipeline.batcher import Batcher
from pipeline.errors import DerainError, UsageError
from pipeline.frame import Frame, FrameHeader, StreamInfo, frame_bytes
from pipeline.hosts.doors import ClientDoor, ServerDoor
from pipeline.hosts.receiver import StreamReceiver
from pipeline.hosts.sender import Rewind, StreamSender
from pipeline.hosts.server import DerainServer
from pipeline.job import Job
from pipeline.keys import KeyPair, make_keys, read_allowed, read_public, read_secret
from pipeline.wire import Failure, FrameMsg, Join, StageFailed, pack, unpack
from tests.unit.test_link import Running

INFO = StreamInfo(width=64, height=48, pixel_format="yuv420p", time_base=(1, 25))
WAIT = 30.0


def frame(index: int) -> Frame:
    header = FrameHeader(index=index, pts=index * 2, duration=2, width=64, height=48, pixel_format="yuv420p")
    pixels = np.random.default_rng(index).integers(0, 256, frame_bytes("yuv420p", 64, 48), np.uint8)
    return Frame(header, pixels)


class Server:
    """A derain stage in a thread, that can be taken away and put back at the same address."""

    def __init__(self, door: ServerDoor, **settings: object) -> None:
        self.said: list[str] = []
        self._server = DerainServer(
            door, Batcher(Job(source="", destination="", model="identity")), say=self.said.append, **settings
        )
        self.url = self._server.url
        self.served = self._server.served
        self._asked = threading.Event()
        self._running = Running(lambda: self._server.run(self._asked.is_set))

    def stop(self) -> None:
        self._asked.set()
        self._running.outcome()
        self._server.close()


def decode(door: ClientDoor, stream: str, count: int, **settings: object) -> StreamSender:
    """A decode stage whose source has `count` frames and can be read again."""
    with StreamSender(door, stream, patience=WAIT, **settings) as link:  # type: ignore[arg-type]
        while True:
            try:
                link.join(INFO)
                for index in range(count):
                    if index >= link.frames:
                        link.send(frame(index))
                link.finish()
                return link
            except Rewind:
                continue


class Encode:
    """An encode stage that holds its file in memory; `leave_after` frames it is gone as if killed."""

    def __init__(self, door: ClientDoor, stream: str, leave_after: int | None = None, pause: float = 0.0) -> None:
        self.frames: list[Frame] = []
        self.done = False
        with StreamReceiver(door, stream, patience=WAIT) as link:
            link.join()
            for got in link.frames():
                self.frames.append(Frame(got.header, got.pixels.copy()))
                if len(self.frames) == leave_after:
                    return
                time.sleep(pause)
            self.done = link.acknowledge()
            self.reconnects = link.reconnects


def check(frames: list[Frame], count: int) -> None:
    assert [f.header.index for f in frames] == list(range(count))
    for got in frames:
        assert np.array_equal(got.pixels, frame(got.header.index).pixels)


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
        _until(lambda: server.served.frames >= before)  # noqa: B023
        server.stop()
        time.sleep(0.3)
        server = Server(ServerDoor(server.url, plain=scheme == "tcp"))
        before = 0
        _until(lambda: server.served.frames > 0)  # noqa: B023
    encoded = encoding.outcome()
    assert isinstance(encoded, Encode) and encoded.done and encoded.reconnects >= 2
    check(encoded.frames, 60)
    sent = sending.outcome()
    assert isinstance(sent, StreamSender) and sent.reconnects >= 2
    server.stop()


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


@pytest.mark.parametrize(
    ("join", "reason"),
    [
        (Join(protocol=99, stream="cam", role="decode", info=INFO), "link protocol 99"),
        (Join(protocol=1, stream="../cam", role="decode", info=INFO), "no name for a stream"),
        (Join(protocol=1, stream="cam", role="decode"), "must say what it sends"),
    ],
)
def test_who_cannot_join_is_told_why(address: str, join: Join, reason: str) -> None:
    server = Server(ServerDoor(address))
    with zmq.Context() as context:
        peer = ClientDoor(address).open(context)
        peer.send(pack(join))
        assert peer.poll(int(WAIT * 1000))
        said = unpack(peer.recv())
        assert isinstance(said, Failure) and reason in said.text
        peer.send(b"GET / HTTP/1.1")
        said = unpack(peer.recv())
        assert isinstance(said, Failure) and "not one of protocol" in said.text
        peer.close(0)
    server.stop()


def test_another_video_under_the_name_of_a_running_stream_is_refused(address: str) -> None:
    server, door = Server(ServerDoor(address)), ClientDoor(address)
    with StreamSender(door, "cam") as link:
        link._info = INFO
        link._post(link._joining())
        _until(lambda: any("decode stage is here" in line for line in server.said))
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


# keys


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, KeyPair]:
    names = ("server", "listed", "unlisted")
    for name in names:
        make_keys(name, tmp_path)
    (tmp_path / "allowed").write_text((tmp_path / "listed.public").read_text())
    return {name: read_secret(tmp_path / f"{name}.secret") for name in names}


def test_only_listed_keys_are_let_in(tmp_path: Path, keys: dict[str, KeyPair]) -> None:
    allowed = tmp_path / "allowed"
    server = Server(ServerDoor("tcp://127.0.0.1:*", keys["server"], allowed))
    listed = ClientDoor(server.url, keys["listed"], keys["server"].public)
    unlisted = ClientDoor(server.url, keys["unlisted"], keys["server"].public)
    with StreamSender(unlisted, "cam") as link, pytest.raises(DerainError, match=r"does not know our key.*--allow"):
        link.join(INFO)
    for wrong in (ClientDoor(server.url, keys["listed"], keys["unlisted"].public), ClientDoor(server.url, plain=True)):
        with StreamSender(wrong, "cam") as link, pytest.raises(DerainError, match="breaks off the handshake"):
            link.join(INFO)
    assert server.served.joins == 0 and not server.said, "they got nothing through"
    encoding = Running(lambda: Encode(listed, "cam"))
    decode(listed, "cam", 10)
    encoded = encoding.outcome()
    assert isinstance(encoded, Encode)
    check(encoded.frames, 10)
    allowed.write_text(allowed.read_text() + (tmp_path / "unlisted.public").read_text())
    with StreamSender(unlisted, "cam", patience=1) as link, pytest.raises(DerainError, match="no encode stage"):
        link.join(INFO)  # the list is read again: now it is let in
    server.stop()


def test_a_message_above_the_limit_cuts_its_sender_off_and_nobody_else(address: str) -> None:
    server = Server(ServerDoor(address, largest=1 << 20))
    with zmq.Context() as context:
        peer = ClientDoor(address).open(context)
        monitor = peer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        peer.send(bytes(2 << 20))
        assert monitor.poll(int(WAIT * 1000))
        peer.disable_monitor()
        peer.close(0)
    encoding = Running(lambda: Encode(ClientDoor(address), "cam"))
    decode(ClientDoor(address), "cam", 3)
    encoding.outcome()
    with StreamSender(ClientDoor(address, largest=100), "cam") as link, pytest.raises(DerainError, match="above the"):
        link.send(frame(0))
    server.stop()


def test_keys_are_private_and_never_overwritten(tmp_path: Path) -> None:
    secret, public = make_keys("hall-3", tmp_path / "keys")
    assert secret.stat().st_mode & 0o777 == 0o600 and (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert read_secret(secret).public == read_public(public)
    assert read_allowed(public) == {read_public(public): "hall-3"}
    before = secret.read_bytes()
    with pytest.raises(DerainError, match="exists already"):
        make_keys("hall-3", tmp_path / "keys")
    assert secret.read_bytes() == before
    with pytest.raises(UsageError, match="a key's name"):
        make_keys("../x", tmp_path)
    os.chmod(secret, 0o640)
    with pytest.raises(DerainError, match="others may read this secret key; run chmod 600"):
        read_secret(secret)
    with pytest.raises(DerainError, match=r"is a secret key; give the \.public file"):
        read_public(secret)
    (tmp_path / "odd").write_text("public nonsense\n")
    with pytest.raises(DerainError, match="line 1: is no key"):
        read_allowed(tmp_path / "odd")
    with pytest.raises(DerainError, match="can't read the secret key"):
        read_secret(tmp_path / "none")


def test_doors_that_would_stand_open_are_refused(tmp_path: Path, keys: dict[str, KeyPair]) -> None:
    with pytest.raises(UsageError, match="--insecure-plain-tcp"):
        ServerDoor("tcp://*:5555")
    with pytest.raises(UsageError, match="--insecure-plain-tcp"):
        ClientDoor("tcp://there:5555")
    with pytest.raises(UsageError, match="needs --allow"):
        ServerDoor("tcp://*:5555", keys["server"])
    with pytest.raises(UsageError, match="go together"):
        ClientDoor("tcp://there:5555", keys["listed"])
    with pytest.raises(UsageError, match=r"tcp://HOST:PORT or ipc://PATH"):
        ClientDoor("http://there", plain=True)
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    with pytest.raises(DerainError, match="others can reach a socket there"):
        ServerDoor(f"ipc://{shared}/x")
    with pytest.raises(DerainError, match="no such folder"):
        ServerDoor(f"ipc://{tmp_path}/none/x")
