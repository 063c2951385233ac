"""Which files a batch is of, and where each result goes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from glob import glob, has_magic

import msgspec

from pipeline.errors import DerainError, UsageError
from pipeline.sinks.containers import FORMATS, can_hold

VIDEOS = {
    *FORMATS,
    *(".mpg", ".mpeg", ".m2v", ".mxf", ".wmv", ".asf", ".3gp", ".3g2", ".ogv", ".ogg", ".vob", ".y4m", ".f4v", ".dv"),
    *(".divx", ".h264", ".h265", ".hevc", ".ivf", ".m4s", ".mjpg", ".mjpeg", ".mod", ".tod", ".rm", ".qt"),
}
"""Endings by which a folder's videos are known. A file that is named itself is taken whatever its ending."""


class BatchFile(msgspec.Struct, frozen=True, kw_only=True):
    """One source and where its result goes."""

    source: str
    destination: str
    size: int  # bytes of the source


def gather(
    sources: Iterable[str], folder: str, container: str | None = None, encoder: str | None = None
) -> list[BatchFile]:
    """The files of a batch, sorted by source.

    Args:
        sources: Files, folders (taken with all below them), patterns with ``*``, ``?``, ``[…]`` and ``**``, or
            ``@list.txt``: such a file with one of these a line, relative to the list; ``#`` begins a comment.
        folder: Where results go. What comes from a folder keeps its path below that folder.
        container: Ending of the results, without the dot; None keeps the source's where it can be written, else mkv.
        encoder: FFmpeg's name of the one that writes them; None where any container will do.

    Raises:
        UsageError: Two sources would have the same result, or results would lie among the sources of their folder.
        DerainError: A source is not there.
    """
    found: dict[str, BatchFile] = {}
    taken: dict[str, str] = {}
    inside = os.path.realpath(folder)
    for base, path in _expanded(sources, os.curdir):
        real = os.path.realpath(path)
        if base and _is_below(os.path.realpath(base), inside):  # each of its files would count as a result
            raise UsageError(f"{folder}: is where the sources are; choose another folder for the results")
        if real in found or (base and _is_below(real, inside)):
            continue
        below = os.path.relpath(path, base) if base else os.path.basename(path)
        destination = os.path.join(folder, _with_ending(below, container, encoder))
        if other := taken.get(destination):
            raise UsageError(f"{other} and {path} would both become {destination}; put them into different folders")
        taken[destination] = path
        found[real] = BatchFile(source=path, destination=destination, size=_size(path))
    return sorted(found.values(), key=lambda file: file.source)


def _expanded(sources: Iterable[str], start: str) -> Iterator[tuple[str, str]]:
    """Pairs of the folder a file was found in ("" for one that was named) and the file."""
    for source in sources:
        if source.startswith("@"):
            yield from _listed(os.path.join(start, source[1:]))
            continue
        path = os.path.normpath(os.path.join(start, source))
        if os.path.isdir(path):
            yield from ((path, found) for found in _walked(path))
        elif os.path.exists(path):
            yield "", path
        elif has_magic(path):
            yield from _matched(path)
        else:
            raise DerainError(f"{path}: no such file or folder")


def _listed(path: str) -> Iterator[tuple[str, str]]:
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise DerainError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    yield from _expanded((line for line in lines if line and not line.startswith("#")), os.path.dirname(path))


def _matched(pattern: str) -> Iterator[tuple[str, str]]:
    """Files keep their path below the part of the pattern that is none."""
    base = pattern
    while has_magic(base):
        base = os.path.dirname(base)
    matches = sorted(glob(pattern, recursive=True))
    if not matches:
        raise DerainError(f"{pattern}: matches nothing")
    for path in matches:
        if os.path.isdir(path):
            if not pattern.endswith("**"):
                yield from ((base or os.curdir, found) for found in _walked(path))
        elif _is_video(path):
            yield base or os.curdir, path


def _walked(folder: str) -> Iterator[str]:
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(path, name) for name in sorted(names) if _is_video(name))


def _is_video(path: str) -> bool:
    name = os.path.basename(path)
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in VIDEOS


def _is_below(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder


def _size(path: str) -> int:
    """0 for what is not there any more, and for a link to nothing: that file fails when it is its turn."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _with_ending(path: str, container: str | None, encoder: str | None) -> str:
    from pipeline.picture_names import is_picture

    stem, ending = os.path.splitext(path)
    if is_picture(path):
        return path
    if container:
        return f"{stem}.{container.lstrip('.')}"
    kept = ending.lower() in FORMATS and (encoder is None or can_hold(ending.lower(), encoder))
    return path if kept else f"{stem}.mkv"
