"""The folder layouts in which the benchmarks of deraining are shipped, each told by the names in it.

rain12    `001_in.png`, clean `001_GT.png` beside it
rain100   (Rain100L/H, RainTrainL/H) `rain-001.png`, alone or in `rainy/` or `rain/`; clean `norain-001.png` beside it,
          above it or in `norain/`
rain200   (Rain200L/H) `rain/X2/norain-1x2.png` or `rain/norain-1x2.png`, clean `norain/norain-1.png`
rain1400  (DDN) `rainy_image/901_1.jpg`, clean `ground_truth/901.jpg`: fourteen rains of one picture
rain1200  (DID-MDN) `Rain_Heavy/train2018new/0.jpg` is both: rainy left, clean right
spa       (SPA-Data) `rain/000.png`, clean `gt/000gt.png`; for training a list `real_world.txt` with both on a line
nturain   folders of frames `a1_Rain/`, `t1_Rain_01/`, clean `a1_GT/`, `t1_GT/`
rainsyn   (RainSynLight25, RainSynComplex25) `CLIP/rfc-1.png`, clean `CLIP/gtc-1.png`; or `input/CLIP/…`, clean
          `processed/CLIP/…`
clips     (VRDS and others) folders of frames, or videos, in `rainy/`, `rain/`, `input/`, `lq/`; clean in `gt/`, …
sequences (VRDS as repackaged, and others) the sides inside of each clip: `CLIP/rain/00000.png`, `CLIP/gt/00000.png`.
          To be asked for by name: the sets of pictures in a folder look the same, and are taken as `folders`
folders   (Rain13K and most repackaged sets) pictures in `rainy/`, `rain/`, `input/`, `lq/`; clean under the same names
          in `clean/`, `gt/`, `target/` …; words in small letters or large
named     `NAME.rainy.mp4` (or a picture), clean `NAME.clean.mp4` beside it

Names as in the authors' archives and loading code: Rain12 (Li et al., CVPR 2016), Rain100 and Rain200 (Yang et al.,
CVPR 2017, TPAMI 2020), DID-MDN (Zhang and Patel, CVPR 2018), SPA-Data (Wang et al., CVPR 2019), NTURain (Chen et al.,
CVPR 2018), RainSyn (Liu et al., CVPR 2018), VRDS (Wu et al., ACM MM 2023; its archive could not be looked into).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.errors import TrainingError
from training.pairs import PICTURES, VIDEOS, Pair

Unit = Literal["picture", "frames", "video", "halves"]

_DIRTY = "(?i:rainy|rain|input|lq|rainy_image)"
_CLEAN = ("clean", "gt", "target", "norain", "groundtruth", "ground_truth", "hq")
_SHOWN = 3


@dataclass(frozen=True)
class Rule:
    """How a rainy file is told from its path below the root, and where its clean counterpart is.

    `rainy` is matched against the whole path (with /), `clean` are templates for `re.Match.expand`, the first that
    exists counts. `unit`: each file is a picture; files of a folder are the frames of a clip; each file is a video; or
    each file is both, rainy left and clean right.
    """

    unit: Unit
    rainy: str
    clean: tuple[str, ...] = ()


LAYOUTS: dict[str, tuple[Rule, ...]] = {
    "rain12": (Rule("picture", r"(.*/)?(\d+)_in\.(\w+)", (r"\1\2_GT.\3",)),),
    "rain100": (
        Rule(
            "picture",
            r"(.*?/)??(?:rainy/|rain/)?rain-(\d+)\.(\w+)",
            (r"\1norain-\2.\3", r"\1norain/norain-\2.\3", r"\1clean/norain-\2.\3", r"\1rain/norain-\2.\3"),
        ),
    ),
    "rain200": (Rule("picture", r"(.*/)?rain/(?:X2/)?norain-(\d+)x2\.(\w+)", (r"\1norain/norain-\2.\3",)),),
    "rain1400": (Rule("picture", r"(.*/)?rainy_image/(\d+)_\d+\.(\w+)", (r"\1ground_truth/\2.\3",)),),
    "rain1200": (Rule("halves", r"(.*/)?Rain_(?:Heavy|Medium|Light)/[^/]+/[^/]+\.\w+"),),
    "spa": (Rule("picture", r"(.*/)?rain/(\d+)\.(\w+)", (r"\1gt/\2gt.\3",)),),
    # of what is filmed, Dataset_Testing_RealRain, nobody has the other side
    "nturain": (Rule("frames", r"(?!.*RealRain/)(.*/)?(\w+?)_Rain(?:_\d+)?/([^/]+)", (r"\1\2_GT/\3",)),),
    "rainsyn": (
        Rule("frames", r"(.*/)?rfc-(\d+)\.(\w+)", (r"\1gtc-\2.\3",)),
        Rule("frames", r"(.*/)?input/([^/]+)/([^/]+)", (r"\1processed/\2/\3",)),
    ),
    "clips": (
        Rule("frames", rf"(.*/)?{_DIRTY}/([^/]+)/([^/]+)", tuple(rf"\1{name}/\2/\3" for name in _CLEAN)),
        Rule("video", rf"(.*/)?{_DIRTY}/([^/]+)", tuple(rf"\1{name}/\2" for name in _CLEAN)),
    ),
    "sequences": (Rule("frames", rf"(.*/)?{_DIRTY}/([^/]+)", tuple(rf"\1{name}/\2" for name in _CLEAN)),),
    "folders": (Rule("picture", rf"(.*/)?{_DIRTY}/([^/]+)", tuple(rf"\1{name}/\2" for name in _CLEAN)),),
    "named": (
        Rule("picture", r"(.*)\.rainy\.(\w+)", (r"\1.clean.\2",)),
        Rule("video", r"(.*)\.rainy\.(\w+)", (r"\1.clean.\2",)),
    ),
}
"""Layout name → its rules. What an earlier layout claims, a later one with as many pairs does not."""

NAMES = ("auto", *LAYOUTS)

_BY_NAME = ("sequences",)
"""Layouts that are taken only when they are asked for."""


@dataclass(frozen=True)
class Found:
    """The pairs of a folder and the layout they were found by."""

    layout: str
    pairs: tuple[Pair, ...]

    def described(self, folder: str) -> str:
        """What was found in that folder, in a line."""
        clips = sum(not pair.pictures or len(pair.rainy) > 1 for pair in self.pairs)
        counts = ((len(self.pairs) - clips, "picture"), (clips, "clip"))
        what = " and ".join(f"{number} {word}{'s' if number > 1 else ''}" for number, word in counts if number)
        return f"{folder}: {what} (layout {self.layout})"


def find_layout(root: str | Path, layout: str = "auto") -> Found:
    """The pairs below `root`, by the layout of that name or the one that explains most of what is there.

    TrainingError where the folder is missing or holds no pairs, the layout is unknown, or files of one side have no
    counterpart (how many, and the first of them).
    """
    root = Path(root).expanduser()
    if layout not in NAMES:
        raise TrainingError(f"unknown layout {layout!r}: one of {', '.join(NAMES)}")
    if not root.is_dir():
        raise TrainingError(f"{root}: no such folder of pairs; correct the path")
    files = {p.relative_to(root).as_posix(): p for p in sorted(root.rglob("*")) if _is_data(p)}
    if layout == "rain1200" and files:  # asked for by name: folders of the test set have names of their own
        return Found(layout, tuple(_halves(files.items(), root)))
    tried = [name for name in LAYOUTS if name not in _BY_NAME] if layout == "auto" else [layout]
    candidates = {name: _apply(name, files, root) for name in tried}
    best = max(candidates, key=lambda name: candidates[name].count)
    match = candidates[best]
    if not match.count:
        what = f"as {layout}" if layout != "auto" else f"in any layout known ({', '.join(LAYOUTS)})"
        listed = ", ".join(list(files)[:_SHOWN]) or "no pictures or videos at all"
        raise TrainingError(f"{root}: no pairs of rainy and clean {what}; it holds {listed}")
    match.complain(root, best)
    return Found(best, tuple(match.pairs))


class _Matches:
    """What the rules of one layout find."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        self.count = 0  # files explained
        self.rainy_alone: list[str] = []
        self.clean_alone: list[str] = []

    def complain(self, root: Path, layout: str) -> None:
        """TrainingError for what has no counterpart."""
        for alone, side, other in ((self.rainy_alone, "rainy", "clean"), (self.clean_alone, "clean", "rainy")):
            if alone:
                raise TrainingError(
                    f"{root} (layout {layout}): {len(alone)} {side} file{'s have' if len(alone) > 1 else ' has'} no "
                    f"{other} counterpart, {alone[0]} first; complete the download or take them away"
                )


def _apply(layout: str, files: dict[str, Path], root: Path) -> _Matches:
    found = _Matches()
    if layout == "spa":
        _from_lists(files, root, found)
    for rule in LAYOUTS[layout]:
        suffixes = VIDEOS if rule.unit == "video" else PICTURES
        names = [name for name in files if files[name].suffix.lower() in suffixes]
        matched = {name: match for name in names if (match := re.fullmatch(rule.rainy, name))}
        if rule.unit == "halves":
            found.pairs += _halves(((name, files[name]) for name in matched), root)
            found.count += len(matched)
            continue
        # a JPEG may belong to a PNG, and what is in RAIN to what is in GT
        by_stem = {_stem(name).lower(): name for name in names} | {_stem(name): name for name in names}
        partners: dict[str, str] = {}
        alone = []
        for name, match in matched.items():
            expected = (
                c if c in files else by_stem.get(_stem(c)) or by_stem.get(_stem(c).lower())
                for c in _expanded(match, rule.clean)
            )
            clean = next((c for c in expected if c and c != name), None)
            if clean is None:
                alone.append(name)
            else:
                partners[name] = clean
        if not partners:
            continue
        found.count += len(partners)
        found.rainy_alone += alone
        found.clean_alone += _left_over(partners, matched, names)
        found.pairs += _as_pairs(rule.unit, partners, files)
    return found


def _expanded(match: re.Match[str], templates: tuple[str, ...]) -> Iterable[str]:
    return (match.expand(template) for template in templates)


def _left_over(partners: dict[str, str], rainy: dict[str, re.Match[str]], names: list[str]) -> list[str]:
    """Files in the clean side's folders that look like its files (digits aside) and belong to no rainy one."""
    used = set(partners.values())
    shapes = {(_folder(name), _shape(name)) for name in used}
    return [n for n in names if n not in used and n not in rainy and (_folder(n), _shape(n)) in shapes]


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _shape(name: str) -> str:
    """The file's name with every run of digits, or in default of digits every letter, as one sign."""
    stem = name.rpartition("/")[2]
    return re.sub(r"\d+", "#", stem) if re.search(r"\d", stem) else re.sub(r"\w+", "#", stem)


def _as_pairs(unit: Unit, partners: dict[str, str], files: dict[str, Path]) -> list[Pair]:
    if unit != "frames":
        return [
            Pair(_stem(rainy), (files[rainy],), (files[clean],), unit == "picture")
            for rainy, clean in sorted(partners.items(), key=lambda item: natural(item[0]))
        ]
    folders: dict[str, list[tuple[str, str]]] = {}
    for name, partner in partners.items():
        folders.setdefault(_folder(name), []).append((name, partner))
    pairs = []
    for folder, frames in sorted(folders.items(), key=lambda item: natural(item[0])):
        frames.sort(key=lambda item: natural(item[0]))
        rainy, clean = (tuple(files[frame[side]] for frame in frames) for side in (0, 1))
        above, _, last = folder.rpartition("/")
        pairs.append(Pair(above or last if re.fullmatch(_DIRTY, last) else last, rainy, clean, True))
    return pairs


def _halves(files: Iterable[tuple[str, Path]], root: Path) -> list[Pair]:
    ordered = sorted(files, key=lambda item: natural(item[0]))
    return [Pair(_stem(name), (path,), (path,), True, side_by_side=True) for name, path in ordered]


def _from_lists(files: dict[str, Path], root: Path, found: _Matches) -> None:
    """SPA-Data's training set: lists of lines `rainy clean`, paths below the folder of the list."""
    for listing in sorted(root.glob("*.txt")):
        for number, line in enumerate(listing.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            words = line.split()
            if len(words) != 2 or not all(Path(word).suffix.lower() in PICTURES for word in words):
                continue
            rainy, clean = (word.removeprefix(".").lstrip("/") for word in words)
            for name in (rainy, clean):
                if name not in files:
                    raise TrainingError(f"{listing}, line {number}: {name} is not there; complete the download")
            found.pairs.append(Pair(_stem(rainy), (files[rainy],), (files[clean],), True))
            found.count += 1


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key by which 9 comes before 10."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]


def _is_data(path: Path) -> bool:
    return path.suffix.lower() in PICTURES | VIDEOS and not path.name.startswith(".") and path.is_file()
