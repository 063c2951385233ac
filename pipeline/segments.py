"""The work folder of a long job: `.NAME.derain` beside the destination, with a manifest and the finished segments.

    .out.mp4.derain/
        manifest.json     what the segments were made from; written once
        lock              held (flock) by the process that writes, for as long as it lives
        000000.segment    finished: it has its name only when it is whole and on the disk
        000001.segment.part
        000001.membranes  with which that segment begins (`pipeline.segmenting`)
        placed            how to know the joined result, written just before it gets its name

That a segment has its name is the record that it is done. So there is no list that could say otherwise after a power
loss, and several machines can write into one folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from contextlib import suppress

import msgspec

from pipeline.errors import BeingMade, DerainError
from pipeline.manifest import Manifest
from pipeline.segment_file import Foot, read_foot
from pipeline.sinks.temporary import remove, sync, writing

_ENDING, _PICTURES, _PLACED = ".segment", ".pictures", "placed"
_DYING = 10.0
"""Seconds to wait for a writer whose front is dead: it gives up by itself within half of that."""


class WorkFolder:
    """The work folder of one destination, whether it is there or not."""

    def __init__(self, destination: str) -> None:
        self.destination = destination
        folder, name = os.path.split(os.path.abspath(destination))
        self.path = os.path.join(folder, f".{name.encode()[:230].decode(errors='ignore')}.derain")
        self._lock: int | None = None

    def exists(self) -> bool:
        return os.path.isdir(self.path)

    def lock(self) -> None:
        """Make the folder if need be, and keep every other writer out for as long as this process lives.

        DerainError where another run is writing, or the folder cannot be made.
        """
        if self._lock is not None:
            return
        deadline = time.monotonic() + _DYING
        with writing(self.destination):
            while not (handle := self._try_lock()):
                owner = self._owner()
                if time.monotonic() > deadline or (owner and _alive(owner)):
                    by = f" (process {owner})" if owner else ""
                    raise BeingMade(f"{self.destination}: another run{by} is writing it; wait for it or end it first")
                time.sleep(0.1)
            os.ftruncate(handle, 0)
            os.write(handle, str(os.getppid()).encode())  # our front: it dies first, and then we do
        self._lock = handle

    @property
    def locked(self) -> bool:
        """Whether it is ours."""
        return self._lock is not None

    def _try_lock(self) -> int | None:
        os.makedirs(self.path, exist_ok=True)
        name = os.path.join(self.path, "lock")
        try:
            handle = os.open(name, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            return None  # its owner was just removing the folder
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(name)):
                return handle
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(handle)
        return None

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _owner(self) -> int:
        """Process number of the front of whoever holds the lock; 0 if that is not known."""
        with suppress(OSError, ValueError), open(os.path.join(self.path, "lock")) as file:
            return int(file.read())
        return 0

    def segment(self, number: int) -> str:
        return os.path.join(self.path, f"{number:06d}{_ENDING}")

    def pictures(self, number: int) -> str:
        """Where a segment's pictures are, if it is of pictures (`pipeline.picture_segments`)."""
        return os.path.join(self.path, f"{number:06d}{_PICTURES}")

    def numbers(self) -> list[int]:
        """The segments that are done, in order."""
        with suppress(FileNotFoundError):
            names = os.listdir(self.path)
            return sorted(int(n.removesuffix(_ENDING)) for n in names if n.endswith(_ENDING))
        return []

    def feet(self) -> list[Foot]:
        """The feet of the segments from the first on that are there without a gap."""
        found: list[Foot] = []
        for expected, number in enumerate(self.numbers()):
            if number != expected:
                break
            found.append(read_foot(self.segment(number)))
        return found

    def read(self) -> Manifest | None:
        """The manifest; None where there is none. DerainError for one that cannot be understood."""
        try:
            with open(os.path.join(self.path, "manifest.json"), "rb") as file:
                return msgspec.json.decode(file.read(), type=Manifest)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise DerainError(f"{self.path}: its manifest cannot be read; pass --restart to begin anew") from error

    def write(self, manifest: Manifest) -> None:
        """OSError where that is not possible."""
        path = os.path.join(self.path, "manifest.json")
        with open(f"{path}.part", "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(manifest)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{path}.part", path)
        sync(self.path)
        sync(os.path.dirname(self.path))

    def note_placed(self, path: str) -> None:
        """Write down that `path`, whole and on the disk, is about to become the destination. OSError where not."""
        note = os.path.join(self.path, _PLACED)
        with open(f"{note}.part", "wb") as file:
            file.write(_looks(path))
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{note}.part", note)

    def is_placed(self) -> bool:
        """Whether what is at the destination was joined from these segments."""
        with suppress(OSError), open(os.path.join(self.path, _PLACED), "rb") as file:
            return file.read() == _looks(self.destination)
        return False

    def drop_from(self, number: int) -> None:
        """Remove the segments from this number on, and what was left half written."""
        for name in os.listdir(self.path):
            stem, ending = os.path.splitext(name)
            if ending == ".part" or (ending in (_ENDING, _PICTURES) and int(stem) >= number):
                remove(os.path.join(self.path, name))

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.unlock()

    def remove_if_empty(self) -> None:
        """Remove the folder if it is ours and holds nothing a later run could go on from."""
        if self.locked and not self.numbers():
            self.remove()


def _looks(path: str) -> bytes:
    """What stays of a file or folder when it is renamed, and tells it from every other."""
    status = os.stat(path)
    return f"{status.st_size} {status.st_mtime_ns}\n".encode()


def _alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        with suppress(PermissionError):
            os.kill(pid, 0)
        return True
    return False
