"""Stages on several hosts that meet somebody else, fail before they have joined, or come back as another."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import msgspec
import numpy as np
import pytest
import zmq

from pipeline.endpoint import Stopped
from pipeline.errors import DerainError
from pipeline.frame import Frame, StreamInfo
from pipeline.hosts.doors import ClientDoor, ServerDoor
from pipeline.hosts.sender import StreamSender
from pipeline.keys import make_keys, read_secret
from pipeline.wire import StageFailed
from tests.host_stages import INFO, WAIT, Encode, Server, decode, frame, until
from tests.running import Running


@pytest.fixture
def address() -> Iterator[str]:
    folder = tempfile.mkdtemp()
    yield f"ipc://{folder}/derain"
    rmtree(folder)


def shakes_hands_in_vain(link: StreamSender) -> None:
    """A decode stage that opens its source first: the handshake has failed when it says who it is."""
    time.sleep(1.5)
    link.join(INFO)


def test_a_handshake_that_has_failed_before_we_speak_is_said(tmp_path: Path) -> None:
    """libzmq gives such a connection up, and a message to nobody waited for ever: neither the patience nor Ctrl-C ended
    that, only SIGKILL."""
    for name in ("server", "client"):
        make_keys(name, tmp_path)
    ours = read_secret(tmp_path / "client.secret")
    server = Server(ServerDoor("tcp://127.0.0.1:*", plain=True))
    with StreamSender(ClientDoor(server.url, ours, ours.public), "cam", patience=WAIT) as link:
        sending = Running(lambda: shakes_hands_in_vain(link))
        with pytest.raises(DerainError, match="breaks off the handshake"):
            sending.outcome()
    server.stop()


@pytest.mark.parametrize("asked", ["patience", "stop"])
def test_waiting_for_junk_has_an_end(asked: str) -> None:
    """Random bytes at once are no handshake either."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as junk:

        def answer() -> None:
            while not stop.is_set():
                try:
                    peer, _ = junk.accept()
                    peer.sendall(os.urandom(4096))
                    peer.close()
                except OSError:
                    return

        answering = Running(answer)
        door = ClientDoor(f"tcp://127.0.0.1:{junk.getsockname()[1]}", plain=True)
        leave = threading.Event()
        with StreamSender(door, "cam", patience=3, stop=leave.is_set) as link:
            sending = Running(lambda: shakes_hands_in_vain(link))
            if asked == "stop":
                leave.set()
            with pytest.raises(Stopped if asked == "stop" else DerainError):
                sending.outcome()
        stop.set()
        junk.shutdown(socket.SHUT_RDWR)
    answering.outcome()


def test_a_source_that_cant_be_opened_is_told_to_who_waits_for_it(address: str) -> None:
    """The derain stage did not know of which stream the failure was, for its stage had not joined: the encode stage
    waited its whole patience for it, five minutes."""
    server, door = Server(ServerDoor(address)), ClientDoor(address)
    receiving = Running(lambda: Encode(door, "cam"))
    until(lambda: any("encode stage is here" in line for line in server.said))
    with pytest.raises(DerainError), StreamSender(door, "cam"):
        raise DerainError("rain.mp4: is cut short")
    with pytest.raises(StageFailed, match=r"^the decode stage: rain\.mp4: is cut short"):
        receiving.outcome()
    assert server.said[-1] == "stream cam: rain.mp4: is cut short"
    server.stop()


def test_who_cant_join_a_stream_under_way_does_not_end_it(address: str) -> None:
    server, door = Server(ServerDoor(address)), ClientDoor(address)
    receiving = Running(lambda: Encode(door, "cam", pause=0.02))
    sending = Running(lambda: decode(door, "cam", 40))
    until(lambda: server.served.frames > 3)
    with pytest.raises(DerainError), StreamSender(door, "cam"):
        raise DerainError("rain.mp4: is cut short")
    sending.outcome()
    encoded = receiving.outcome()
    assert isinstance(encoded, Encode) and len(encoded.frames) == 40
    server.stop()


def test_frames_of_a_camera_written_before_the_encode_stage_came_back_are_not_lost(address: str) -> None:
    """All that had ever been sent was counted as lost when an encode stage began anew."""
    server, door = Server(ServerDoor(address)), ClientDoor(address)
    written = 0
    with StreamSender(door, "cam", live=True, patience=WAIT) as link:
        encoding = Running(lambda: Encode(door, "cam", leave_after=20))
        link.join(INFO)
        offered = 0
        for _ in range(2):
            deadline = time.monotonic() + WAIT
            while encoding.is_alive():
                assert time.monotonic() < deadline
                offered += link.try_send(frame(link.frames))
                time.sleep(0.005)
            encoded = encoding.outcome()
            assert isinstance(encoded, Encode)
            written += len(encoded.frames)
            encoding = Running(lambda: Encode(door, "cam", leave_after=20))
        while link._epoch < 3:
            link.room(0, 0.01)
        assert 0 <= link.lost <= 2 * 3
        assert offered - link.lost <= written + 3 and written == 40
        link.finish()
        encoding.outcome()
    server.stop()


def test_a_camera_that_comes_back_with_another_size_goes_on(address: str) -> None:
    """A decode stage that was restarted was refused for ever: the stream was under way with another video."""
    live = msgspec.structs.replace(INFO, live=True)
    server, door = Server(ServerDoor(address)), ClientDoor(address)
    receiving = Running(lambda: Encode(door, "cam"))
    with StreamSender(door, "cam", live=True, patience=WAIT) as link:
        link.join(live)
        until(lambda: link.try_send(frame(link.frames)))
    larger = StreamInfo(width=128, height=96, pixel_format="gray", time_base=(1, 25), live=True)
    with StreamSender(door, "cam", live=True, patience=WAIT) as link:
        link.join(larger)
        assert link.info == live
        until(lambda: link.try_send(frame(link.frames)))
        link.finish()
    encoded = receiving.outcome()
    assert isinstance(encoded, Encode) and encoded.done
    assert [got.header.width for got in encoded.frames] == [64] * len(encoded.frames)
    server.stop()


def test_pictures_of_another_kind_are_made_like_the_first() -> None:
    from av import VideoFrame

    from pipeline.hosts.decode_live import _fitted
    from pipeline.live.decode import as_frame
    from pipeline.live.reader import Read

    grey = VideoFrame.from_ndarray(np.full((96, 128), 120, np.uint8), format="gray")
    got: Frame = as_frame(_fitted(Read(grey, INFO, 0, 0.0, 0), INFO), "")
    assert (got.header.width, got.header.height, got.header.pixel_format) == (64, 48, "yuv420p")
    assert got.pixels.nbytes == 64 * 48 * 3 // 2


def test_for_whom_a_stage_waits_is_said(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was said for five minutes; a wrong port looked like work."""
    monkeypatch.setattr("pipeline.hosts.client._TELL_AFTER", 0.3)
    said: list[str] = []
    with StreamSender(ClientDoor(address), "cam", patience=1, say=said.append) as link, pytest.raises(DerainError):
        link.join(INFO)
    assert said == [f"stream cam: waiting for {address} to answer"]
    server = Server(ServerDoor(address))
    with StreamSender(ClientDoor(address), "cam", patience=1, say=said.append) as link, pytest.raises(DerainError):
        link.join(INFO)
    assert said[1:] == ["stream cam: waiting for the encode stage"]
    server.stop()


def test_a_connection_that_came_about_at_once_is_missed_when_it_is_lost(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was watched from a moment after it was made. Where the handshake was quicker, once in a hundred on a busy
    machine, nobody knew that there had been one: when the derain stage was restarted the stage did not join the new
    one, and waited for ever, without patience."""
    connect = zmq.Socket.connect

    def at_once(socket: zmq.Socket[bytes], url: str) -> object:
        done = connect(socket, url)
        if url == address:
            time.sleep(0.3)
        return done

    monkeypatch.setattr(zmq.Socket, "connect", at_once)
    server = Server(ServerDoor(address))
    sending = Running(lambda: decode(ClientDoor(address), "cam", 30))
    encoding = Running(lambda: Encode(ClientDoor(address), "cam", pause=0.02))
    until(lambda: server.served.frames > 3)
    server.stop()
    server = Server(ServerDoor(address))
    sending.outcome()
    encoded = encoding.outcome()
    assert isinstance(encoded, Encode) and len(encoded.frames) == 30
    server.stop()
