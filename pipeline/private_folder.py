"""A folder for the sockets of one job, which only this user can enter and which nobody has to tidy away.

The front removes it at the end, its stages do if the front was killed, and the next job does if all of them were. A
lock that its owner holds while it lives tells a folder in use from one left behind; the kernel drops the lock with
the process, however that ends, and it holds across containers that share the folder for temporary files.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import DerainError

_PREFIX = "derain-"
_LOCK = "lock"
_LONGEST = 103
"""Bytes in the path of a Unix socket (sun_path: 108 on Linux, 104 on macOS, with the closing zero)."""


@contextmanager
def private_folder(longest_name: int = 16) -> Iterator[str]:
    """A new folder (mode 0700), gone at the end with all that is in it.

    Args:
        longest_name: Bytes of the longest socket name that will be used in it.

    Raises:
        DerainError: The folder for temporary files can't be written to, or its path is too long for sockets.
    """
    base = tempfile.gettempdir()
    _sweep(base)
    try:
        folder = tempfile.mkdtemp(prefix=_PREFIX, dir=base)
    except OSError as error:
        raise DerainError(f"{base}: no room for sockets ({error.strerror}); set TMPDIR to another folder") from error
    try:
        if len(os.fsencode(folder)) + 1 + longest_name > _LONGEST:
            raise DerainError(f"{base}: too long a path for sockets; set TMPDIR to a shorter one, like /tmp")
        with open(os.path.join(folder, f"{_LOCK}.new"), "w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            os.rename(held.name, os.path.join(folder, _LOCK))  # only now may others try the lock
            yield folder
    finally:
        remove(folder)


def remove(folder: str) -> None:
    """Remove a folder made by `private_folder`; one that is gone already is no error."""
    shutil.rmtree(folder, ignore_errors=True)


def _sweep(base: str) -> None:
    """Remove folders of ours whose owner is dead."""
    for folder in Path(base).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, still in use, or just being removed by someone else
            with open(folder / _LOCK) as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(str(folder))
