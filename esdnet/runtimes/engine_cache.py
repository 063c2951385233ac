"""EngineCache: built TensorRT engines on disk, each under a name that says what it was built for.

An engine takes minutes to build and fits one network, shape, precision, GPU and version of TensorRT only. So all of
these are its key: readable in the file's name and, whole, in the file's first line, where a digest of the rest stands
beside them. When a part of the key changes the name changes, and the engine is built anew. One process builds while
others that want the same engine wait for it. A file that is cut off or damaged is never used: it is built again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from esdnet.errors import ModelError
from esdnet.runtimes import graph_cache

KEPT = 32
"""Engines kept, the most recently used; one takes 5 to 100 MB."""
_MAGIC = "derain engine 1"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineKey:
    """Everything that decides whether a built engine may be used."""

    network: str  # digest of the network's config and weights
    code: str  # digest of the code that makes the graph
    shape: str  # a `StepSpec`, as text: size, streams, kind of pictures
    precision: str
    gpu: str  # its name
    capability: str  # its compute capability
    tensorrt: str
    torch_tensorrt: str
    torch: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def file_name(self) -> str:
        """As ``1920x1080-b1-planes-tv-fp16-NVIDIA-H100-trt11.1.0-net0a1b2c3d-0123456789ab.engine``."""
        parts = (
            self.shape,
            self.precision,
            self.gpu,
            f"trt{self.tensorrt}",
            f"net{self.network[:8]}",
            self.digest[:12],
        )
        return "-".join(re.sub(r"[^A-Za-z0-9.+-]+", "-", part) for part in parts) + ".engine"


class EngineCache:
    """Engines in `folder`, by default ``engines`` beside the other compiled graphs (``$DERAIN_CACHE``)."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or graph_cache.folder() / "engines"

    def path(self, key: EngineKey) -> Path:
        return self.folder / key.file_name

    def find(self, key: EngineKey) -> bytes | None:
        """The engine, None where none is there that is whole and of this very key."""
        path = self.path(key)
        try:
            with path.open("rb") as file:
                first, data = file.readline(65536), file.read()
        except OSError:
            return None
        try:
            head = json.loads(first)
            sound = head["kind"] == _MAGIC and head["key"] == asdict(key)
            sound = sound and head["size"] == len(data) and head["sha256"] == hashlib.sha256(data).hexdigest()
        except (ValueError, KeyError, TypeError):
            sound = False
        if not sound:
            _log.warning("%s is damaged or of another key; the engine is built again", path)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # most recently used
        return data

    def obtain(self, key: EngineKey, build: Callable[[], bytes], *, say: Callable[[str], None] = _log.warning) -> bytes:
        """The engine, from the disk or from `build`, which is called by one process at a time for one key.

        A folder that cannot be written to costs the next start a build, and `say` is told.

        Raises:
            ModelError: The lock beside the engine cannot be used.
        """
        if (found := self.find(key)) is not None:
            return found
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = FileLock(f"{self.path(key)}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                say(f"another process builds {key.file_name}; waiting for it")
                lock.acquire()
        except OSError as error:
            say(f"engines cannot be kept in {self.folder} ({error.strerror or error}); this one is for this run only")
            return build()
        except NotImplementedError as error:  # a file system without locks
            raise ModelError(
                f"{self.folder}: this file system knows no locks; set DERAIN_CACHE to a folder on another one"
            ) from error
        try:
            if (found := self.find(key)) is None:  # else another process has built it meanwhile
                found = build()
                self._put(key, found, say)
            return found
        finally:
            lock.release()

    def _put(self, key: EngineKey, data: bytes, say: Callable[[str], None]) -> None:
        path = self.path(key)
        part = path.with_name(f".{uuid.uuid4().hex}.part")
        head = {"kind": _MAGIC, "key": asdict(key), "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        try:
            try:
                with part.open("wb") as file:
                    file.write(json.dumps(head, sort_keys=True).encode() + b"\n" + data)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
            self._prune()
        except OSError as error:
            say(f"{path}: cannot be written ({error.strerror}); the engine is built again next time")

    def _prune(self) -> None:
        engines = sorted(self.folder.glob("*.engine"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in engines[KEPT:]:
            with contextlib.suppress(OSError):  # another process may have removed it
                old.unlink()
                Path(f"{old}.lock").unlink(missing_ok=True)
