"""A destination is written beside itself under a hidden name and renamed when it is whole."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline.errors import DerainError, Made

_MARK = re.compile(r"\.derain-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.part$")


def temporary_beside(destination: str) -> str:
    """A hidden name in the destination's folder that no other process uses: `.NAME.derain-HOST-PID-RANDOM.part`."""
    folder, start = _start(destination)
    return os.path.join(folder, f"{start}{_host()}-{os.getpid()}-{secrets.token_hex(4)}.part")


def _start(destination: str) -> tuple[str, str]:
    """The folder, and how temporary names of this destination begin (the whole must fit into 255 bytes)."""
    folder, name = os.path.split(os.path.abspath(destination))
    return folder, f".{name.encode()[:180].decode(errors='ignore')}.derain-"


def _host() -> str:
    """Process numbers mean nothing on another machine that shares the folder, so the name carries the host too."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def check_destination(destination: str, overwrite: bool) -> None:
    """Refuse a destination that is there (unless it may be replaced) or has no folder to lie in.

    Raises:
        DerainError: With what to do about it.
    """
    folder = os.path.dirname(os.path.abspath(destination))
    if not os.path.isdir(folder):
        raise DerainError(f"{destination}: there is no folder {folder}; make it first")
    if os.path.lexists(destination) and not overwrite:
        raise Made(f"{destination}: exists already; choose another name or pass --overwrite")


@contextmanager
def writing(destination: str) -> Iterator[None]:
    """Turn the file system's and FFmpeg's errors while writing into one line about the destination."""
    import av.error

    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        raise DerainError(f"{destination}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; make room and start again"
    if number == errno.EFBIG:
        return "the file grew larger than this file system or its limits allow"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"cannot be written ({os.strerror(number).lower()}); choose another place or change its rights"
    return f"cannot be written ({getattr(error, 'strerror', None) or error}); choose another name or place"


def sync(path: str) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_in_place(temporary: str, destination: str, overwrite: bool) -> None:
    """Rename a finished file to its destination, so that it is there whole or not at all.

    Raises:
        DerainError: Something took the destination's name meanwhile, and may not be replaced.
        OSError: The file system refuses.
    """
    sync(temporary)
    if not overwrite:
        check_destination(destination, overwrite)
    os.replace(temporary, destination)
    sync(os.path.dirname(os.path.abspath(destination)))


def remove(path: str) -> None:
    """Remove a temporary file or folder if it is still there."""
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            os.unlink(path)


def sweep(destination: str) -> list[str]:
    """Remove what killed processes left beside a destination. What a living process or another machine writes stays.

    Returns:
        The paths removed.
    """
    folder, start = _start(destination)
    removed = []
    for entry in os.listdir(folder) if os.path.isdir(folder) else []:
        mark = _MARK.search(entry)
        if not mark or not entry.startswith(start) or mark.group(1) != _host():
            continue
        if not _alive(int(mark.group(2))):
            remove(os.path.join(folder, entry))
            removed.append(os.path.join(folder, entry))
    return removed


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as told:
        return told.read().rpartition(b")")[2].split()[0] != b"Z"  # killed, and its parent has not looked yet
    return True
