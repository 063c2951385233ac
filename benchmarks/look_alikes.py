"""What becomes of things that look like rain and are none: text over the picture, fences, walls, grass, lines on roads.

python benchmarks/look_alikes.py --models stream,stream-nano [--frames 12] FOLDER

FOLDER has pairs of clips, NAME.clean.mp4 and NAME.rainy.mp4. A camera's name, clock, counter and bars are written over
both sides of each pair: dB of luma within the boxes of the text, with rain behind it and without. The scenes are drawn
and dry: dB of whole frames. Both with the most that was taken from a pixel, of 255; the first frames, before which
there is no memory, are told apart. What is drawn here is not what training draws (`training/captions.py`,
`training/highlights.py`, `training/blades.py`, `training/lattices.py`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from skimage import data

from esdnet import Derainer
from training.clips import ClipReader

Array = np.ndarray[Any, Any]
WIDTH, HEIGHT = 640, 360
FIRST = 3
"""Frames that are left out, or told apart."""
BACKINGS = ("plain", "outlined", "boxed")
SIDES = ("rainy", "clean")
WHITE = (230, 230, 230)


def written(luma: Array, time: int, backing: str) -> tuple[Array, list[tuple[slice, slice]]]:
    """Luma (H, W) with text over it, and where."""
    shown, (height, width) = luma.copy(), luma.shape
    size, boxes = height / 360, []
    thick = max(1, round(size))
    clock = f"2026-11-28 14:{3 + time // 100:02d}:{time // 5 % 60:02d}"
    lines = [
        ("CAM 01  NORTH GATE", 12 * size, 24 * size, cv2.FONT_HERSHEY_SIMPLEX, 0.5),
        (clock, width - 230 * size, 24 * size, cv2.FONT_HERSHEY_PLAIN, 1.0),
        (f"F{1000 + time:06d}", 12 * size, height - 14 * size, cv2.FONT_HERSHEY_SIMPLEX, 0.5),
        ("||| iIl1 | WILLOW | lil", width * 0.45, height - 14 * size, cv2.FONT_HERSHEY_DUPLEX, 0.55),
    ]
    for words, x, y, font, scale in lines:
        (wide, high), below = cv2.getTextSize(words, font, scale * size, thick)
        left, bottom = int(x), int(y)
        box = slice(max(0, bottom - high - 4), bottom + below + 3), slice(max(0, left - 4), left + wide + 4)
        if backing == "boxed":
            shown[box] = 16
        # The outline is the same letters moved: bolder ones, as OpenCV 5 draws them, are wider apart.
        moves = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y] if backing == "outlined" else []
        for shade, x, y in (*((16, *move) for move in moves), (235, 0, 0)):
            cv2.putText(shown, words, (left + x, bottom + y), font, scale * size, shade, thick, cv2.LINE_AA)
        boxes.append(box)
    return shown, boxes


_GRAIN = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 14, (1200, 1600)), (0, 0), 1.2)


def railing(time: int) -> Array:
    """A fence of thin bright bars before something dark, the camera panning."""
    big = np.clip(70 + 2 * _GRAIN[:600, :1100, None], 0, 255) * np.ones(3)
    for x in range(0, 1100, 22):
        cv2.line(big, (x, 80), (x, 520), (215, 215, 220), 2, cv2.LINE_AA)
    cv2.line(big, (0, 90), (1100, 90), (215, 215, 220), 3)
    return big[60 : 60 + HEIGHT, 65 + 5 * time : 65 + 5 * time + WIDTH]


def pitch(time: int) -> Array:
    """The lines of a playing field, the camera panning."""
    big = np.ones((700, 1400, 3)) * (60, 130, 60) + _GRAIN[:700, :1400, None] * 0.6
    for x in range(60, 1400, 170):
        cv2.line(big, (x, 0), (x + 60, 700), WHITE, 3, cv2.LINE_AA)
    cv2.circle(big, (600, 330), 110, WHITE, 3, cv2.LINE_AA)
    cv2.line(big, (0, 400), (1400, 420), WHITE, 3, cv2.LINE_AA)
    return big[150 : 150 + HEIGHT, 100 + 7 * time : 100 + 7 * time + WIDTH]


def road(time: int) -> Array:
    """Lane markings that come towards a camera that drives."""
    picture, horizon = np.full((HEIGHT, WIDTH, 3), 120.0), 140
    picture[:horizon] = (200, 170, 150)
    rows, columns = np.mgrid[horizon:HEIGHT, 0:WIDTH]
    far = 60 / (rows - horizon + 1)
    along, beside = far * 900 + time * 28, (columns - WIDTH / 2) * far
    picture[horizon:] += _GRAIN[along.astype(int) % 1100, (beside * 7).astype(int) % 1500][..., None] * 0.8
    for lane in (-60, 60, -200, 200):
        dashed = (along % 400 < 160) | (abs(lane) > 100)
        picture[horizon:][(np.abs(beside * 0.9 - lane) < 4) & dashed] = WHITE
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.6))


def bricks(time: int) -> Array:
    """A wall with light joints, the camera panning."""
    wall = np.array((70, 90, 140)) + _GRAIN[: HEIGHT + 60, :1200, None]
    for row, y in enumerate(range(0, HEIGHT + 60, 14)):
        cv2.line(wall, (0, y), (1200, y), (190, 190, 190), 1)
        for x in range(15 * (row % 2), 1200, 30):
            cv2.line(wall, (x, y), (x, y + 14), (190, 190, 190), 1)
    return _unsharp(wall[20 : 20 + HEIGHT, 100 + 4 * time : 100 + 4 * time + WIDTH])


def chain_link(time: int) -> Array:
    """A fence of crossing wires, the camera panning."""
    big = np.clip(110 + 2 * _GRAIN[:HEIGHT, :1200, None], 0, 255) * np.ones(3)
    for x in range(-600, 1200, 34):
        for ends in (((x, -40), (x + 220, 400)), ((x + 220, -40), (x, 400))):
            cv2.line(big, *ends, (190, 190, 195), 1, cv2.LINE_AA)
    return _unsharp(big[:, 100 + 4 * time : 100 + 4 * time + WIDTH])


def lawn(time: int) -> Array:
    """A photograph of grass, scikit-image's, mirrored at its right side, the camera panning."""
    wide = np.pad(data.grass(), ((0, 0), (0, 300)), mode="reflect")[:HEIGHT, 100 + 4 * time : 100 + 4 * time + WIDTH]
    return np.repeat(wide[..., None], 3, axis=2)


def _unsharp(picture: Array) -> Array:
    return np.asarray(cv2.GaussianBlur(np.clip(picture, 0, 255), (0, 0), 0.6))


SCENES: dict[str, Callable[[int], Array]] = {
    "a railing, camera stands": lambda time: railing(0),
    "a railing, camera pans": railing,
    "a pitch, camera pans": pitch,
    "lane markings": road,
    "a wall of bricks, camera stands": lambda time: bricks(0),
    "a wall of bricks, camera pans": bricks,
    "chain link, camera stands": lambda time: chain_link(0),
    "chain link, camera pans": chain_link,
    "a lawn, camera stands": lambda time: lawn(0),
    "a lawn, camera pans": lawn,
}


def decibels(errors: list[float]) -> float:
    return float(10 * np.log10(255**2 / max(float(np.mean(errors)), 1e-6)))


def planes_of(picture: Array) -> list[Array]:
    """Y, U, V of a picture (H, W, 3), blue first, 0..255, both sides even."""
    shown = np.ascontiguousarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8))
    height, width = shown.shape[:2]
    planes = np.asarray(cv2.cvtColor(shown, cv2.COLOR_BGR2YUV_I420), np.uint8)
    return [planes[:height], *planes[height:].reshape(2, height // 2, width // 2)]


def scene(model: str, drawn: Callable[[int], Array], frames: int) -> tuple[float, float, float]:
    """dB of the first frame and of those from `FIRST` on, and the most that was taken."""
    derainer, errors, taken = Derainer(model, threads=1), [], 0.0
    for time in range(frames):
        planes = planes_of(drawn(time))
        dry: Any = derainer(planes)
        lost = planes[0].astype(float) - dry[0]
        errors.append(float(np.mean(lost**2)))
        taken = max(taken, float(lost.max()))
    return decibels(errors[:1]), decibels(errors[FIRST:]), taken


def captions(model: str, seen: list[list[Array]], clean: list[list[Array]], backing: str) -> tuple[float, float, float]:
    """dB within the text as shown and as derained, and the most that was taken."""
    derainer, before, after, taken = Derainer(model, threads=1), [], [], 0.0
    for time, (planes, dry) in enumerate(zip(seen, clean, strict=True)):
        truth, boxes = written(dry[0], time, backing)
        shown, _ = written(planes[0], time, backing)
        out = np.asarray(derainer([shown, *planes[1:]])[0]).astype(float)
        for box in boxes if time >= FIRST else []:
            before.append(float(np.mean((shown[box].astype(float) - truth[box]) ** 2)))
            after.append(float(np.mean((out[box] - truth[box]) ** 2)))
            taken = max(taken, float((truth[box] - out[box]).max()))
    return min(decibels(before), 99.0), decibels(after), taken


def read(path: Path, frames: int) -> list[list[Array]]:
    """The planes of its first frames."""
    with ClipReader(path) as reader:
        return [[*frame.planes] for frame in islice(reader, frames)]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--models", default="stream,stream-nano")
    asked.add_argument("--frames", type=int, default=12)
    asked.add_argument("folder", type=Path)
    options = asked.parse_args()
    pairs = []
    for path in sorted(options.folder.glob("*.clean.mp4")):
        pairs.append(
            [read(path.with_name(path.name.replace(".clean.", f".{side}.")), options.frames) for side in SIDES]
        )
    if not pairs:
        asked.error(f"{options.folder}: no NAME.clean.mp4 in it")
    for model in options.models.split(","):
        for name, drawn in SCENES.items():
            first, then, taken = scene(model, drawn, options.frames)
            print(f"{model}: {name}: first {first:.1f}, then {then:.1f} dB, {taken:.0f} taken at most", flush=True)
        for backing in BACKINGS:
            for weather in ("in rain", "dry"):
                found = [captions(model, r if weather == "in rain" else c, c, backing) for r, c in pairs]
                shown, kept, _ = np.mean(found, axis=0)
                print(
                    f"{model}: text, {backing}, {weather}: shown {shown:.1f}, derained {kept:.1f} dB, "
                    f"{max(taken for *_, taken in found):.0f} taken at most",
                    flush=True,
                )


if __name__ == "__main__":
    main()
