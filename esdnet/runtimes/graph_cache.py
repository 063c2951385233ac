"""Compiled graphs kept on disk, so that the next start takes a tenth of a second instead of several.

A file is named by what it was made from and begins with the SHA-256 of the rest. It is written beside its place and
renamed, so two processes may build the same graph at once; a damaged or cut file is not used. Without a folder to
write to everything works, only slower: the cache is never needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import uuid
from pathlib import Path

KEPT = 48
"""Files kept, the most recently used; a graph takes 1 to 10 MB."""
_DIGEST = hashlib.sha256().digest_size
_log = logging.getLogger(__name__)


def folder() -> Path:
    """``$DERAIN_CACHE``, else ``derain`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if given := os.environ.get("DERAIN_CACHE"):
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base) / "derain"


def key_of(*parts: object) -> str:
    """A file name for what these parts determine."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


def code_fingerprint() -> str:
    """Changes with every change of the code that makes graphs: a graph of older code would be a wrong one."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def read(kind: str, key: str) -> bytes | None:
    """What was written under `key`, None where there is nothing or it is damaged."""
    path = _path(kind, key)
    try:
        data = path.read_bytes()
        os.utime(path)  # most recently used
    except OSError:
        return None
    if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
        _log.warning("cached graph %s is damaged; it is built anew", path)
        return None
    return data[_DIGEST:]


def write(kind: str, key: str, data: bytes) -> None:
    """Keep `data`; a full or read-only disk only means that it is built again next time."""
    path = _path(kind, key)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            part.write_bytes(hashlib.sha256(data).digest() + data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        _prune(path.parent)
    except OSError as error:
        _log.info("compiled graphs cannot be kept in %s: %s", path.parent, error.strerror)


def _path(kind: str, key: str) -> Path:
    return folder() / kind / f"{key}.blob"


def _prune(where: Path) -> None:
    files = sorted(where.glob("*.blob"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in files[KEPT:]:
        with contextlib.suppress(OSError):  # another process may have removed it
            old.unlink()
