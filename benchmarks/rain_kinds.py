"""What models gain on kinds of rain that differ in their light and their depth, at one strength.

python benchmarks/rain_kinds.py --models stream,stream-nano [--frames 10] clean.mp4 ...

Rain of each kind is rendered on the clean clips, its opacity set so that the first two frames have 29.7 dB PSNR on luma
or a little more; mean gain over the frames, membranes carried. The kinds are not those that training draws
(`training/rain_settings.py`), only made by the same renderer: a figure is for comparing weights, not for boasting.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from esdnet import Derainer
from training.clips import ClipReader
from training.levels import normalise, quantise
from training.rain import RainScene
from training.rain_light import apply
from training.rain_settings import REFERENCE_HEIGHT, RainSettings

STRENGTH = 29.7
PLAIN: dict[str, Any] = {
    "intensity": 0.6,
    "length": 25,
    "width": 1.4,
    "exposure": 0.5,
    "angle": 8,
    "spread": 3,
    "variety": 0.6,
    "taper": 0.5,
    "fade": 0.1,
    "softness": 0.4,
    "brightness": 0.95,
    "depth": 2,
    "far": 1.5,
    "focus": 0.5,
}
KINDS: dict[str, dict[str, Any]] = {
    "white streaks": PLAIN,
    "a deep scene": PLAIN | {"depth": 5, "far": 2.6, "intensity": 0.75, "focus": 1.5},
    "half of the light from around, lightening": PLAIN
    | {"reflection": 0.5, "blend": "lighten", "surroundings": (100, 12)},
    "four fifths of it, deep": PLAIN
    | {"reflection": 0.8, "blend": "lighten", "surroundings": (100, 12), "depth": 4, "far": 2.4, "intensity": 0.8},
    "three fifths, hiding, long": PLAIN
    | {"reflection": 0.6, "depth": 3, "far": 2, "intensity": 0.7, "angle": -15, "width": 1.8, "length": 35},
    "wide and soft": PLAIN | {"width": 2.6, "length": 40, "softness": 0.9, "intensity": 0.45},
}
Frames = list[Any]


def psnr(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def rainy(clean: Frames, kind: dict[str, Any], opacity: float, seed: int) -> Frames:
    height, width = clean[0][0].shape
    settings = RainSettings(**kind, opacity=opacity, scale=height / REFERENCE_HEIGHT)
    scene = RainScene(settings, height, width, np.random.default_rng(seed))
    return [quantise(apply(normalise(planes, False), scene.next(), settings), False) for planes in clean]


def of_one_strength(clean: Frames, kind: dict[str, Any], seed: int) -> Frames:
    low, high = 0.02, 1.0
    for _ in range(6):
        opacity = float(np.sqrt(low * high))
        weak = psnr(rainy(clean[:2], kind, opacity, seed)[0][0], clean[0][0]) > STRENGTH
        low, high = (opacity, high) if weak else (low, opacity)
    return rainy(clean, kind, low, seed)


def gains(models: list[str], clips: list[Frames], kind: dict[str, Any]) -> dict[str, float]:
    found: dict[str, list[float]] = {model: [] for model in models}
    for seed, clean in enumerate(clips):
        wet = of_one_strength(clean, kind, seed)
        before = np.mean([psnr(a[0], b[0]) for a, b in zip(wet, clean, strict=True)])
        for model in models:
            derainer = Derainer(model)
            after = np.mean([psnr(np.asarray(derainer(a)[0]), b[0]) for a, b in zip(wet, clean, strict=True)])
            found[model].append(float(after - before))
    return {model: float(np.mean(each)) for model, each in found.items()}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("clips", nargs="+")
    asked.add_argument("--models", default="stream,stream-nano")
    asked.add_argument("--frames", type=int, default=10)
    options = asked.parse_args()
    models = options.models.split(",")
    clips: list[Frames] = []
    for path in options.clips:
        with ClipReader(path) as reader:
            clips.append([frame.planes for frame, _ in zip(reader, range(options.frames), strict=False)])
    print(f"| rain of {STRENGTH} dB | " + " | ".join(Path(model).stem for model in models) + " |")
    print("|---" * (len(models) + 1) + "|")
    total: dict[str, list[float]] = {model: [] for model in models}
    for name, kind in KINDS.items():
        found = gains(models, clips, kind)
        print(f"| {name} | " + " | ".join(f"{found[model]:+.2f}" for model in models) + " |", flush=True)
        for model in models:
            total[model].append(found[model])
    print("| mean | " + " | ".join(f"{np.mean(total[model]):+.2f}" for model in models) + " |")


if __name__ == "__main__":
    main()
