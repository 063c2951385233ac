"""Finds what belongs together: rainy and clean videos, folders of pictures, folders of videos, by their names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from training.errors import TrainingError

VIDEOS = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".y4m"}
PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}

_SIDE = re.compile(r"(?:^|(?<=[\W_]))(rainy|rain|norain|clean|gt|derained)(?=[\W_]|$)", re.IGNORECASE)
_RAINY = re.compile(r"(?:^|[\W_])(rainy|rain)$", re.IGNORECASE)
_CLEAN = re.compile(r"(?:^|[\W_])(clean|gt|norain)$", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """A rainy clip and its truth, each a list of files: one video, or pictures that follow one another."""

    name: str
    rainy: tuple[Path, ...]
    clean: tuple[Path, ...]
    pictures: bool
    side_by_side: bool = False  # `rainy` and `clean` are the same pictures: the left halves, and the right ones


def find_pairs(rainy: Path, clean: Path, *, each_picture: bool = False) -> list[Pair]:
    """The pairs of two files, or of two folders (or one, with NAME.rainy.mp4 beside NAME.clean.mp4).

    A folder holds pictures (one clip in the order of their names, or with `each_picture` a clip each), or videos and
    folders of pictures. Names must be equal but for a word that says which side it is (rainy, clean, gt, norain).
    Raises `TrainingError` for a side that is missing or that does not match.
    """
    for path in (rainy, clean):
        if not path.exists():
            raise TrainingError(f"{path} is not there")
    if rainy.is_dir() != clean.is_dir():
        raise TrainingError(f"{rainy} and {clean} are not alike: give two files or two folders")
    if not rainy.is_dir():
        return [Pair(_key(rainy) or rainy.stem, (rainy,), (clean,), _is_picture(rainy) and _is_picture(clean))]
    pictures = _pictures(rainy), _pictures(clean)
    if pictures[0] and pictures[1]:
        matched = _match(*pictures, rainy, clean)
        if each_picture:
            return [Pair(name, (r,), (c,), True) for name, r, c in matched]
        return [Pair(rainy.name, tuple(r for _, r, _ in matched), tuple(c for _, _, c in matched), True)]
    return _clips(rainy, clean, each_picture)


def _clips(rainy: Path, clean: Path, each_picture: bool) -> list[Pair]:
    sides = _side(rainy, _RAINY), _side(clean, _CLEAN)
    for path, entries in zip((rainy, clean), sides, strict=True):
        if not entries:
            raise TrainingError(f"{path} has no pictures or videos in it")
    if rainy.samefile(clean) and set(sides[0]) & set(sides[1]):
        raise TrainingError(f"{rainy}: name the two sides NAME.rainy.mp4 and NAME.clean.mp4, or give two folders")
    pairs = []
    for name, r, c in _match(*sides, rainy, clean):
        if r.is_dir() or c.is_dir():
            pairs += find_pairs(r, c, each_picture=each_picture)
        else:
            pairs.append(Pair(name, (r,), (c,), False))
    return pairs


def _side(folder: Path, marked: re.Pattern[str]) -> list[Path]:
    """Videos and folders of pictures; where some are named as this side, those alone."""
    shown = [p for p in folder.iterdir() if not p.name.startswith(".")]
    entries = sorted(p for p in shown if p.suffix.lower() in VIDEOS or (p.is_dir() and _pictures(p)))
    return [p for p in entries if marked.search(p.stem)] or entries


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if _is_picture(p)) if folder.is_dir() else []


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES and not path.name.startswith(".") and path.is_file()


def _match(rainy: list[Path], clean: list[Path], rainy_at: Path, clean_at: Path) -> list[tuple[str, Path, Path]]:
    left, right = _by_key(rainy), _by_key(clean)
    for mine, other, where in ((left, right, clean_at), (right, left, rainy_at)):
        alone = [mine[key] for key in mine if key not in other]
        if alone:
            more = f" (and {len(alone) - 1} more)" if len(alone) > 1 else ""
            raise TrainingError(f"{alone[0]} has no counterpart in {where}{more}")
    return [(key, left[key], right[key]) for key in left]


def _by_key(paths: list[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        key = _key(path)
        if key in found:
            raise TrainingError(f"{found[key]} and {path} have the same name but for their side; keep one")
        found[key] = path
    return found


def _key(path: Path) -> str:
    """The name without the word that says which side it is: `a.rainy.mp4` and `a.clean.mp4` are both `a`."""
    stem = path.name if path.is_dir() else path.stem
    return _SIDE.sub("", stem).strip("._- ").lower()
