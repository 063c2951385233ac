"""The address of a derain stage, and what opens it: CURVE keys for ``tcp://``, a private folder for ``ipc://``.

Sources: RFC 23/ZMTP 3.1, RFC 26/CurveZMQ, RFC 27/ZAP; the socket options are those of libzmq 4.3.
"""

from __future__ import annotations

import logging
import os
import re
import socket as socketlib
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator

from pipeline.endpoint import HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS
from pipeline.errors import DerainError, UsageError
from pipeline.keys import KeyPair, read_allowed

LARGEST_MESSAGE = 256 << 20
"""Bytes. A frame of 7680 × 4320 in 16-bit 4:4:4 is 199 MB; a peer that sends more is cut off."""
PLAIN = "--insecure-plain-tcp"
_PORT = re.compile(r"^tcp://.+:(\d+|\*)$")
_IPV4 = re.compile(r"tcp://\d+\.\d+\.\d+\.\d+:")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerDoor:
    """Where a derain stage listens. `allowed` is the list of public keys let in; it is read again for each that knocks.

    Raises:
        UsageError: ``tcp://`` without keys that was not asked for by name, or an address of another kind.
        DerainError: An ``ipc://`` address in a folder that others can enter, or a list that cannot be read.
    """

    url: str
    key: KeyPair | None = None
    allowed: Path | None = None
    plain: bool = False
    largest: int = LARGEST_MESSAGE

    def __post_init__(self) -> None:
        _check(self.url, self.key is not None, self.plain, "--key and --allow (derain keys makes keys)")
        if self.key and self.allowed is None:
            raise UsageError("--key needs --allow FILE, the list of public keys that may connect")
        if self.allowed and self.key is None:
            raise UsageError("--allow needs --key FILE, our secret file; without keys everybody is let in")
        if self.allowed:
            read_allowed(self.allowed)
        if self._path:
            _check_private(self._path.parent)

    @property
    def _path(self) -> Path | None:
        return Path(self.url.removeprefix("ipc://")) if self.url.startswith("ipc://") else None

    def open(self, context: zmq.Context[Any]) -> tuple[zmq.Socket[bytes], ThreadAuthenticator | None]:
        """A bound ROUTER socket, and the authenticator to stop when it is closed. DerainError where it can't bind."""
        if self._path:
            _check_free(self._path)
        socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        authenticator = None
        try:
            _set(socket, self.url, self.largest)
            socket.router_mandatory = True  # to be told of those who have gone
            if self.key and self.allowed:
                authenticator = ThreadAuthenticator(context, log=_quiet)
                authenticator.start()
                authenticator.configure_curve_callback("*", _Allowed(self.allowed))
                socket.curve_server = True
                socket.curve_publickey, socket.curve_secretkey = self.key.public, self.key.secret
            socket.bind(self.url)
        except zmq.ZMQError as error:
            socket.close(0)
            if authenticator:
                authenticator.stop()
            raise DerainError(f"the derain stage can't listen at {self.url}: {error}") from error
        return socket, authenticator

    def leave(self) -> None:
        """Take the socket's file away, so that nobody comes any more."""
        if self._path:
            self._path.unlink(missing_ok=True)


@dataclass(frozen=True)
class ClientDoor:
    """The derain stage that a decode or encode stage connects to. Raises as `ServerDoor`."""

    url: str
    key: KeyPair | None = None
    server: bytes | None = None
    plain: bool = False
    largest: int = LARGEST_MESSAGE

    def __post_init__(self) -> None:
        _check(self.url, bool(self.key or self.server), self.plain, "--key and --server-key (derain keys makes keys)")
        if (self.key is None) != (self.server is None):
            raise UsageError("--key (our secret file) and --server-key (the derain stage's public file) go together")

    def open(
        self, context: zmq.Context[Any], watch: Callable[[zmq.Socket[bytes]], None] = lambda _: None
    ) -> zmq.Socket[bytes]:
        """A DEALER socket that connects, and connects again, by itself. `watch` gets it before it does."""
        socket: zmq.Socket[bytes] = context.socket(zmq.DEALER)
        try:
            _set(socket, self.url, self.largest)
            socket.reconnect_ivl, socket.reconnect_ivl_max = 100, 2000
            if self.key and self.server:
                socket.curve_publickey, socket.curve_secretkey = self.key.public, self.key.secret
                socket.curve_serverkey = self.server
            watch(socket)
            socket.connect(self.url)
        except zmq.ZMQError as error:
            socket.close(0)
            raise DerainError(f"can't connect to {self.url}: {error}") from error
        return socket


class _Allowed:
    """Asked by the authenticator about each CURVE client (`zmq.auth`)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def callback(self, _domain: str, key: bytes) -> bool:
        try:
            known = read_allowed(self._path)
        except DerainError as error:
            _log.error("nobody is let in: %s", error)
            return False
        if key not in known:
            _log.warning("refused a client whose key is not in %s: %s", self._path, key.decode())
        return key in known


_quiet = logging.getLogger("derain.zap")
_quiet.setLevel(logging.CRITICAL)  # pyzmq's authenticator logs every key it sees


def _check(url: str, keys: bool, plain: bool, which: str) -> None:
    if url.startswith("ipc://"):
        if keys:
            raise UsageError(f"{url}: keys are for tcp://; an ipc:// address is guarded by its folder")
        if len(os.fsencode(url.removeprefix("ipc://"))) > zmq.IPC_PATH_MAX_LEN:
            raise UsageError(f"{url}: too long a path for a socket, {zmq.IPC_PATH_MAX_LEN} bytes at most")
    elif not url.startswith("tcp://"):
        raise UsageError(f"{url}: an address is tcp://HOST:PORT or ipc://PATH")
    elif not (port := _PORT.search(url)) or int(port[1].replace("*", "0")) > 65535:  # which ZeroMQ takes modulo 65536
        raise UsageError(f"{url}: an address is tcp://HOST:PORT; a port is a number up to 65535")
    elif keys and plain:
        raise UsageError(f"{PLAIN} and keys: choose one")
    elif not (keys or plain):
        raise UsageError(f"{url}: between hosts give {which}, or {PLAIN} where the network itself is trusted")


def _check_private(folder: Path) -> None:
    try:
        found = os.stat(folder)
    except OSError as error:
        raise DerainError(
            f"{folder}: there is no such folder for the socket; make it: mkdir -m 700 {folder}"
        ) from error
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise DerainError(f"{folder}: others can reach a socket there; use a folder of your own: mkdir -m 700 FOLDER")


def _check_free(path: Path) -> None:
    """ZeroMQ removes what is there, whatever it is, and listens in its place."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise DerainError(f"{path}: exists and is no socket; choose another name")
    with socketlib.socket(socketlib.AF_UNIX) as trial:
        try:
            trial.connect(os.fspath(path))
        except OSError:
            return  # left behind by one that was killed
    raise DerainError(f"{path}: another derain stage listens there; choose another name, or end that one")


def _set(socket: zmq.Socket[bytes], url: str, largest: int) -> None:
    socket.set_hwm(0)  # what may be in flight is bounded by us, in frames and bytes
    socket.linger = 0
    socket.maxmsgsize = largest
    socket.ipv6 = not _IPV4.match(url)
    if url.startswith("tcp://"):
        socket.heartbeat_ivl, socket.heartbeat_timeout = HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS
