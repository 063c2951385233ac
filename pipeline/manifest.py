"""What a work folder belongs to: the source, the model and the settings its segments were made from.

Segments of one source, model and setting are never mixed with those of another: whatever goes into the pixels or the
bitstream is part of the manifest, and a run that goes on has to have the very same.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

import msgspec

from pipeline.frame import StreamInfo
from pipeline.job import IDENTITY, Job

FORMAT = 1
_SAMPLE = 1 << 20  # bytes of the source that are read at each place
_PLACES = 8


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Written once, when the work folder is made."""

    format: int
    source: dict[str, Any]
    model: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str]
    info: StreamInfo


def manifest(job: Job, info: StreamInfo) -> Manifest:
    """The manifest of a job. OSError where its source or weights cannot be read."""
    from importlib.metadata import version  # not needed by short files, and slow to import

    settings: dict[str, Any] = msgspec.to_builtins(job.encode) | {
        "runtime": job.runtime,
        "scene_cuts": job.scene_cuts,
        "partial": job.partial,
        "warmup": job.warmup,
        "container": os.path.splitext(job.destination)[1].lower(),
        **msgspec.to_builtins(job.restore),
    }
    del settings["overwrite"]
    if job.restore.save_rain:
        settings["save_rain"] = os.path.abspath(job.restore.save_rain)
    if job.restore.region:
        settings["region"] = fingerprint(job.restore.region)
    return Manifest(
        format=FORMAT,
        source=fingerprint(job.source),
        model=_model(job.model),
        settings=settings,
        versions={"derain": version("derain"), "av": version("av")},
        info=info,
    )


def fingerprint(path: str) -> dict[str, Any]:
    """What tells a source from a changed one: size, time of change, and a digest of samples spread over it.

    Of a folder, the names, sizes and times of all that is in it.
    """
    digest = hashlib.sha256()
    if os.path.isdir(path):
        entries = sorted((entry.name, entry.stat()) for entry in os.scandir(path))
        for name, status in entries:
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        size, changed = sum(status.st_size for _, status in entries), max(s.st_mtime_ns for _, s in entries)
    else:
        status = os.stat(path)
        size, changed = status.st_size, status.st_mtime_ns
        with open(path, "rb") as file:
            for place in range(_PLACES):
                file.seek(max(0, size - _SAMPLE) * place // (_PLACES - 1))
                digest.update(file.read(_SAMPLE))
    return {"path": os.path.abspath(path), "size": size, "changed": changed, "digest": digest.hexdigest()}


def difference(before: Manifest, now: Manifest) -> str:
    """How two manifests differ, for people; "" where they do not."""
    if before.format != now.format:
        return "another version of derain's segments"
    if before.source != now.source:
        return f"another source, or it has changed ({_told(before.source, now.source)})"
    if before.model != now.model:
        return f"another model ({_told(before.model, now.model)})"
    if before.settings != now.settings:
        return f"other settings ({_told(before.settings, now.settings)})"
    if before.versions != now.versions:
        return f"another version ({_told(before.versions, now.versions)})"
    if before.info != now.info:
        return "a source that was read as another stream"
    return ""


def _told(before: dict[str, Any], now: dict[str, Any]) -> str:
    return ", ".join(
        f"{key}: {str(before.get(key))[:60] or 'none'} then, {str(now.get(key))[:60] or 'none'} now"
        for key in before | now
        if before.get(key) != now.get(key)
    )


def _model(name: str) -> dict[str, Any]:
    if name == IDENTITY:
        return {"name": name}
    from esdnet.models import names, weights

    path = weights(name) if name in names() else name
    if path is None or not os.path.isfile(path):
        return {"name": name}  # the derain stage says what is wrong with it
    with open(path, "rb") as file:
        return {"name": name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
