"""Who is let in to a derain stage: keys, the list of who may connect, addresses, limits, and what a stage must say."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import pytest
import zmq

from pipeline.errors import DerainError, UsageError
from pipeline.hosts.doors import ClientDoor, ServerDoor
from pipeline.hosts.sender import StreamSender
from pipeline.keys import KeyPair, make_keys, read_allowed, read_public, read_secret
from pipeline.wire import Failure, Join, pack, unpack
from tests.host_stages import INFO, WAIT, Encode, Server, check, decode, frame
from tests.running import Running


@pytest.fixture
def address() -> Iterator[str]:
    folder = tempfile.mkdtemp()
    yield f"ipc://{folder}/derain"
    rmtree(folder)


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, KeyPair]:
    names = ("server", "listed", "unlisted")
    for name in names:
        make_keys(name, tmp_path)
    (tmp_path / "allowed").write_text((tmp_path / "listed.public").read_text())
    return {name: read_secret(tmp_path / f"{name}.secret") for name in names}


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


def test_nothing_is_lost_and_nobody_is_pushed_out_where_a_socket_is_made(address: str) -> None:
    """ZeroMQ removes what is at the path first: a film was gone, and a second derain stage took the first one's place
    without either of them knowing."""
    path = Path(address.removeprefix("ipc://"))
    path.write_text("a film")
    with pytest.raises(DerainError, match="exists and is no socket"):
        Server(ServerDoor(address))
    assert path.read_text() == "a film"
    path.unlink()
    first = Server(ServerDoor(address))
    with pytest.raises(DerainError, match="another derain stage listens there"):
        Server(ServerDoor(address))
    encoding = Running(lambda: Encode(ClientDoor(address), "cam"))
    decode(ClientDoor(address), "cam", 3)
    encoding.outcome()
    first.stop()
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as killed:  # what one leaves that was killed
        killed.bind(os.fspath(path))
    Server(ServerDoor(address)).stop()


@pytest.mark.parametrize("port", ["80000", "", "abc", "-1"])
def test_ports_that_cannot_be_are_refused(port: str) -> None:
    """73038 was taken modulo 65536: the frames went to whatever stage listened at 7502."""
    for door in (ServerDoor, ClientDoor):
        with pytest.raises(UsageError, match="a port is a number up to 65535"):
            door(f"tcp://127.0.0.1:{port}", plain=True)
    with pytest.raises(UsageError, match="a port is a number"):
        ClientDoor("tcp://127.0.0.1", plain=True)


def test_a_list_without_keys_would_let_everybody_in(tmp_path: Path, keys: dict[str, KeyPair]) -> None:
    with pytest.raises(UsageError, match="--allow needs --key"):
        ServerDoor("tcp://127.0.0.1:*", None, tmp_path / "allowed", plain=True)


def test_one_that_ends_does_not_take_the_next_ones_socket_away(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is queued may take a second to go out, and the next derain stage may listen by then."""
    first, term = Server(ServerDoor(address)), zmq.Context.term
    next_ones: list[Server] = []

    def slowly(context: zmq.Context[zmq.Socket[bytes]]) -> None:
        monkeypatch.setattr(zmq.Context, "term", term)
        next_ones.append(Server(ServerDoor(address)))
        term(context)

    monkeypatch.setattr(zmq.Context, "term", slowly)
    first.stop()
    assert Path(address.removeprefix("ipc://")).is_socket()
    encoding = Running(lambda: Encode(ClientDoor(address), "cam"))
    decode(ClientDoor(address), "cam", 3)
    encoding.outcome()
    next_ones[0].stop()
