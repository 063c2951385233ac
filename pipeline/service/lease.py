"""A lease: one stream belongs to one worker, however many `derain serve` read the same file.

A lease is a file `STREAM.lease` in a folder that all workers see, with an exclusive lock (flock) on it. The kernel
drops the lock when the last process that holds it is gone, so a worker that is killed gives its streams back by itself,
and nobody has to guess from a clock whether it still lives. The stream's own process holds the lock too (it inherits
the descriptor): after a `kill -9` of the worker nobody else can start the stream while the old one still writes.

Between hosts the folder must be on a file system whose locks hold across them: NFS version 4 does (Linux turns flock
into byte-range locks there, see flock(2)), and so do CephFS and GFS2; object stores mounted as folders do not.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from pathlib import Path

import msgspec

from pipeline.errors import DerainError


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lease: what stands in the file, for people to read."""

    host: str
    pid: int
    since: float
    """Seconds since 1970."""


class Lease:
    """One stream's lease. `take` it before the stream starts, `drop` it when its process has ended."""

    def __init__(self, folder: str | Path, stream: str) -> None:
        self._path = Path(folder) / f"{stream}.lease"
        self._held: int | None = None

    @property
    def descriptor(self) -> int | None:
        """The file descriptor that holds the lock, to be handed to the stream's process; None while not held."""
        return self._held

    def take(self) -> bool:
        """Take the lease if it is free; True where it is ours now (or was already).

        Raises:
            DerainError: The folder can't be written to, or its file system has no locks.
        """
        if self._held is not None:
            return True
        try:
            opened = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DerainError(
                f"{self._path}: the lease can't be taken ({error.strerror}); make the folder {self._path.parent} "
                "and let the service write there, or set lease_folder"
            ) from error
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(opened)
            return False
        except OSError as error:
            os.close(opened)
            raise DerainError(
                f"{self._path}: this file system has no locks ({error.strerror}); set lease_folder to one that has"
            ) from error
        os.ftruncate(opened, 0)
        os.pwrite(opened, msgspec.json.encode(Holder(socket.gethostname(), os.getpid(), time.time())) + b"\n", 0)
        self._held = opened
        return True

    def holder(self) -> Holder | None:
        """Who wrote the lease last; None where nobody did yet."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Holder)
        except (OSError, msgspec.DecodeError):
            return None

    def drop(self) -> None:
        """Give the lease back. The file stays: removed while another worker opens it, it would become two locks."""
        if self._held is not None:
            os.close(self._held)
            self._held = None
