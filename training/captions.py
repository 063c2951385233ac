"""What is written over pictures and is no rain: a camera's name and clock, captions, tickers, boxes around what moves.

Strokes of letters are as thin, bright and upright as streaks. Weights trained without them took thin letters and bars
of `|||` for rain, whole, dry or not (docs/experiments/look-alikes.md). Most of it stands in front of the rain, as the
camera or the studio puts it there; signs in the scene have it in front of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from training.packed_clips import Packed
from training.phases import phases

Mask = NDArray[np.float32]
_FONTS = (0, 1, 2, 3, 4, 5, 6, 7)  # OpenCV's, of strokes; Pillow has one of outlines
_THIN = "Il1|!i:/-tTHLEF"  # most like streaks
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_FULL = 255.0


@dataclass(frozen=True, slots=True)
class _Ink:
    """Codes of limited range, and how much of it hides what is behind."""

    luma: float
    chroma: tuple[float, float]
    opacity: float

    @classmethod
    def of_text(cls, rng: np.random.Generator) -> _Ink:
        kind = rng.random()
        luma = 235.0 if kind < 0.5 else rng.uniform(150, 235) if kind < 0.88 else rng.uniform(16, 70)
        return cls(float(luma), _chroma(rng, 0.25), float(rng.uniform(0.6, 1) if rng.random() < 0.25 else 1))

    @classmethod
    def behind(cls, ink: _Ink, rng: np.random.Generator) -> _Ink:
        """Of an outline, a shadow or a box for text of `ink`: dark behind bright, bright behind dark."""
        luma = rng.uniform(16, 50) if ink.luma > 110 else rng.uniform(170, 235)
        return cls(float(luma), _chroma(rng, 0.2), float(rng.uniform(0.4, 1) if rng.random() < 0.5 else 1))


def _chroma(rng: np.random.Generator, coloured: float) -> tuple[float, float]:
    if rng.random() >= coloured:
        return 128.0, 128.0
    u, v = rng.uniform(40, 216, 2)
    return float(u), float(v)


class _Element(ABC):
    """Something written: where it is, how it moves, and what lies behind it."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size = size
        self.ink = _Ink.of_text(rng)
        self.behind = _Ink.behind(self.ink, rng)
        self.backing = str(rng.choice(["none", "edge", "shadow", "box"], p=[0.4, 0.27, 0.08, 0.25]))
        self.soft = float(rng.uniform(0.3, 0.7)) if rng.random() < 0.3 else 0.0
        self.wider = int(rng.integers(1, 3))
        self._shown: tuple[Any, list[tuple[Mask, _Ink]]] | None = None

    @abstractmethod
    def key(self, time: int) -> Any:
        """What the strokes at `time` follow from; where it stays they are not drawn again."""

    @abstractmethod
    def strokes(self, key: Any) -> NDArray[np.uint8]:
        """(size, size), 0 to 255."""

    def layers(self, time: int) -> list[tuple[Mask, _Ink]]:
        """What lies behind, then the strokes, with opacities in 0..1."""
        key = self.key(time)
        if self._shown is None or self._shown[0] != key:
            self._shown = key, self._drawn(self.strokes(key))
        return self._shown[1]

    def _drawn(self, strokes: NDArray[np.uint8]) -> list[tuple[Mask, _Ink]]:
        mask = np.asarray(strokes / np.float32(_FULL), np.float32)
        behind = self._behind(mask)
        if self.soft:
            mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), self.soft), np.float32)
        return [*([(behind, self.behind)] if behind is not None else []), (mask, self.ink)]

    def _behind(self, mask: Mask) -> Mask | None:
        if self.backing == "edge":
            side = 2 * self.wider + 1
            return np.asarray(cv2.dilate(mask, np.ones((side, side), np.uint8)), np.float32)
        if self.backing == "shadow":
            move = np.array([[1.0, 0, self.wider], [0, 1.0, self.wider]])
            return np.asarray(cv2.warpAffine(mask, move, (self.size, self.size)), np.float32)
        if self.backing == "box" and mask.any():
            rows, columns = (np.flatnonzero(mask.max(axis=axis)) for axis in (1, 0))
            margin, box = 2 * self.wider + 1, np.zeros_like(mask)
            box[max(0, rows[0] - margin) : rows[-1] + margin, max(0, columns[0] - margin) : columns[-1] + margin] = 1
            return box
        return None


class Text(_Element):
    """A line of text: a name, a clock or counter, a ticker that runs."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        super().__init__(size, rng)
        self._height = float(np.exp(rng.uniform(np.log(7), np.log(34))))  # of a capital letter, in pixels
        self._font = int(rng.choice([*_FONTS, -1, -1, -1, -1]))
        self._thick = max(1, round(self._height * float(rng.uniform(0.04, 0.2))))
        self._blocks = int(rng.choice([1, 1, 1, 2, 3])) if self._height > 14 else 1
        self._line = cv2.LINE_AA if self._blocks == 1 and rng.random() < 0.8 else cv2.LINE_8
        self._words = _words(rng)
        self._period = int(rng.choice([1, 1, 1, 5, 12, 25])) if rng.random() < 0.45 else 0
        self._ticks = int(rng.choice([1, 1, 7, 33]))  # hundredths turn several digits over at once
        self._count = int(rng.integers(10_000))
        self._at = rng.uniform([-0.4, 0.1], [0.7, 1.0]) * size
        self._runs = float(rng.choice([-1, -1, 1]) * rng.uniform(0.5, 6)) if rng.random() < 0.15 else 0.0

    def key(self, time: int) -> tuple[str, int]:
        words = self._words
        if self._period:
            count = self._count + time // self._period * self._ticks
            words = f"{words[:6]}{count // 3600 % 24:02d}:{count // 60 % 60:02d}:{count % 60:02d}"
        return words, round(self._at[0] + self._runs * time)

    def strokes(self, key: tuple[str, int]) -> NDArray[np.uint8]:
        words, left = key
        blocks = self._blocks
        side = -(-self.size // blocks)
        at, height = (left // blocks, round(self._at[1]) // blocks), self._height / blocks
        if self._font < 0:
            picture = Image.new("L", (side, side))
            ImageDraw.Draw(picture).text(at, words, fill=255, font=_outlines(round(height * 1.4)), anchor="ls")
            drawn = np.array(picture)
        else:
            drawn, scale = np.zeros((side, side), np.uint8), height / (22 if self._font != 1 else 10)
            cv2.putText(drawn, words, at, self._font, scale, 255, max(1, self._thick // blocks), self._line)
        return drawn.repeat(blocks, 0).repeat(blocks, 1)[: self.size, : self.size]


class Marks(_Element):
    """Frames around what moves, lines, crosses, gauges and emblems."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        super().__init__(size, rng)
        self._kind = str(rng.choice(["frame", "line", "cross", "bars", "patch"]))
        self._middle, self._reach = rng.uniform(0, 1, 2) * size, np.exp(rng.uniform(np.log(4), np.log(60), 2))
        self._thick = int(rng.integers(1, 4))
        upright = rng.random() < 0.7
        self._turn = float(rng.choice([0, np.pi / 2]) if upright else rng.uniform(0, np.pi))
        self._moves = rng.normal(0, 2, 2) if rng.random() < 0.35 else np.zeros(2)
        self._shares = rng.uniform(0.1, 1, 8)

    def key(self, time: int) -> tuple[int, int]:
        x, y = self._middle + self._moves * time
        return round(x), round(y)

    def strokes(self, key: tuple[int, int]) -> NDArray[np.uint8]:
        drawn = np.zeros((self.size, self.size), np.uint8)
        (x, y), (wide, high) = key, (round(float(r)) for r in self._reach)
        start, end = (x - wide, y - high), (x + wide, y + high)
        along = np.array([np.cos(self._turn), np.sin(self._turn)]) * (2 * max(wide, high))
        lines = [along]
        match self._kind:
            case "frame":
                cv2.rectangle(drawn, start, end, 255, self._thick)
            case "patch":
                cv2.ellipse(drawn, (x, y), (wide, high), 0, 0, 360 * float(self._shares[0]), 255, -1, cv2.LINE_AA)
            case "bars":
                for number, share in enumerate(self._shares):
                    left = x + number * (self._thick + 3)
                    cv2.rectangle(drawn, (left, y - round(high * float(share))), (left + self._thick - 1, y), 255, -1)
            case _:
                if self._kind == "cross":
                    lines = [along / 4, along[::-1] * np.array([1, -1]) / 4]
                for line in lines:
                    ends = (np.rint(np.array([x, y]) + sign * line).astype(int) for sign in (-1, 1))
                    first, last = (tuple(map(int, point)) for point in ends)
                    cv2.line(drawn, first, last, 255, self._thick, cv2.LINE_AA)
        return drawn


@cache
def _outlines(height: int) -> Any:
    return ImageFont.load_default(max(6, height))


def _words(rng: np.random.Generator) -> str:
    kind = rng.random()
    if kind < 0.25:
        year, month, day, hour, minute = (int(rng.integers(*r)) for r in ((1999, 2040), (1, 13), (1, 29), (24,), (60,)))
        return (
            f"{year}-{month:02d}-{day:02d} {hour:02d}:{minute:02d}" if kind < 0.15 else f"{day}.{month}.{year} {hour}"
        )
    letters = _LETTERS + _THIN * (4 if kind < 0.6 else 0)
    drawn = "".join(rng.choice(list(letters), int(rng.integers(3, 24))))
    return " ".join(drawn[start : start + 6] for start in range(0, len(drawn), 6))


class Captions:
    """All that is written over one episode of square crops. Everything follows from `rng`."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        """`size` is the crop's side in pixels."""
        count = int(rng.integers(1, 5))
        self._elements = [(Text if rng.random() < 0.7 else Marks)(size, rng) for _ in range(count)]
        self._size, self._time = size, 0

    def onto(self, *pictures: Packed) -> list[Packed]:
        """This moment's captions over each of the packed pictures, uint8 limited range. The next call is the next
        frame's."""
        half = (self._size // 2, self._size // 2)
        luma, through = np.zeros((self._size, self._size), np.float32), np.ones((self._size, self._size), np.float32)
        chroma, colourless = np.zeros((2, *half), np.float32), np.ones(half, np.float32)
        for element in self._elements:
            for mask, ink in element.layers(self._time):
                hides = mask * np.float32(ink.opacity)
                luma, through = luma + (ink.luma - luma) * hides, through * (1 - hides)
                small = np.asarray(cv2.resize(hides, half, interpolation=cv2.INTER_AREA), np.float32)
                colour = np.array(ink.chroma, np.float32)[:, None, None]
                chroma, colourless = chroma + (colour - chroma) * small, colourless * (1 - small)
        self._time += 1
        light = np.concatenate([phases(luma), chroma])
        passed = np.concatenate([phases(through), np.stack([colourless] * 2)])
        return [np.clip(np.rint(picture * passed + light), 0, _FULL).astype(np.uint8) for picture in pictures]
