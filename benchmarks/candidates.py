"""Whether new weights are better than those that ship: all that is asked of weights, a column for each candidate.

    python benchmarks/candidates.py DEV runs/mine/average.safetensors stream [--dry CLIP ...] [--only NAME]

DEV holds `video_pairs` (`NAME.rainy.mp4`, `NAME.clean.mp4`), `rain100l` (`rainy/`, `clean/`) and `real_clips` (videos),
as ../shared/data/dev; what of it is missing is left out, and said so. Gains in dB of luma, membranes carried, on the
first frames; pictures as standing clips after two steps. What is dry must stay as it is: dB of what came out (the first
frame where a stream begins, and then), of photographs and drawn scenes and of the first frames of dry CLIPs.

Weights that gain on one line and lose on another are the rule (docs/experiments.md): `derain mean` mixes them.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import real_rain
import torch
from ablations import measured, whole_clip
from look_alikes import SCENES, Array, decibels, planes_of, read, scene
from rain_kinds import KINDS, gains
from skimage import data

import esdnet
from esdnet import Derainer
from esdnet.errors import ModelError
from esdnet.streaming import StreamNet
from training.evaluation import evaluate_pair
from training.pairs import find_pairs

Line = tuple[str, Callable[[str], str]]
"""What is asked, and how a model answers."""
PHOTOGRAPHS = ("coffee", "astronaut", "chelsea", "grass")
DRAWN = ("a railing, camera pans", "a wall of bricks, camera pans", "chain link, camera pans", "a lawn, camera stands")


def paired(folder: Path, models: list[str], frames: int) -> Iterator[Line]:
    """The clips' own rain, and other kinds on what is clean of them."""
    names = sorted(path.name.removesuffix(".rainy.mp4") for path in folder.glob("*.rainy.mp4"))
    if not names:
        raise ValueError(f"{folder}: holds no NAME.rainy.mp4")
    windows = [whole_clip(folder, name) for name in names]

    def with_their_own(model: str) -> str:
        network = esdnet.load(model)
        if not isinstance(network, StreamNet):
            raise ModelError(f"{model}: carries nothing; weights of a network for video are asked for")
        found = measured(network, windows)
        return (
            f"{found['carried']:+.2f} ({found['reset']:+.2f}; {found['least']:+.2f}), "
            f"{found['flicker']:.2f}, {found['energy']:.2f}"
        )

    yield "pairs: gain (reset; carrying pays at least), flicker, energy of the twin's", with_their_own
    clean = [read(folder / f"{name}.clean.mp4", frames) for name in names]
    for name, kind in KINDS.items():
        found = cache(lambda kind=kind: gains(models, clean, kind))  # its rain is rendered once for all
        yield f"rain: {name}", lambda model, found=found: f"{found()[model]:+.2f}"


def standing(folder: Path, pictures: int) -> Iterator[Line]:
    pairs = find_pairs(folder / "rainy", folder / "clean", each_picture=True)[:pictures]

    def answer(model: str) -> str:
        derainer = Derainer(model, threads=1)
        return f"{np.mean([evaluate_pair(derainer, pair, repeat=2)['derained']['psnr_y'] for pair in pairs]):.2f}"

    yield f"{len(pairs)} pictures that stand", answer


def filmed(folder: Path, frames: int = 30) -> Iterator[Line]:
    for clip in sorted(folder.glob("*.mp4")):
        rainy = real_rain.read(str(clip), frames)

        def answer(model: str, rainy: list[list[Array]] = rainy) -> str:
            wet, dry = real_rain.derained(Derainer(model, threads=1), rainy)
            changes = (real_rain.transients(wet), real_rain.transients(dry)), real_rain.streaks(wet, dry)[1:]
            return ", ".join(f"{1 - after / before:.0%}" if before > 0 else "-" for before, after in changes)

        yield f"{clip.stem}: transients and lines that go", answer


def dry(paths: list[Path]) -> Iterator[Line]:
    shown = {name: [photograph(name)] * 6 for name in PHOTOGRAPHS}
    shown |= {path.stem: read(path, 24) for path in paths}
    for name, frames in shown.items():
        yield f"dry: {name}", lambda model, frames=frames: stays(model, frames)
    for name in DRAWN:
        yield f"dry: {name}", lambda model, name=name: "{:.1f}, {:.1f}".format(*scene(model, SCENES[name], 6)[:2])


def photograph(name: str) -> list[Array]:
    """Y, U, V of one of scikit-image's."""
    picture = getattr(data, name)()
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    coloured = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    return planes_of(coloured[:height, :width, ::-1])


def stays(model: str, frames: list[list[Array]]) -> str:
    """dB of luma of the first frame, and of the worst of the others."""
    derainer = Derainer(model, threads=1)
    errors = [float(np.mean((planes[0].astype(float) - derainer(planes)[0]) ** 2)) for planes in frames]
    return f"{decibels(errors[:1]):.1f}, {decibels([max(errors[1:])]):.1f}"


def questions(dev: Path, options: argparse.Namespace) -> Iterator[Line]:
    rooms: dict[str, Callable[[Path], Iterator[Line]]] = {
        "video_pairs": lambda folder: paired(folder, options.models, options.frames),
        "rain100l": lambda folder: standing(folder, options.pictures),
        "real_clips": filmed,
    }
    for name, asks in rooms.items():
        if (dev / name).is_dir():
            yield from asks(dev / name)
        else:
            print(f"candidates: {dev / name} is not there and is left out", file=sys.stderr)
    yield from dry(options.dry)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("dev", type=Path)
    asked.add_argument("models", nargs="+", help="weights files, or names")
    asked.add_argument("--frames", type=int, default=5, help="of each clip, for kinds of rain")
    asked.add_argument("--pictures", type=int, default=10)
    asked.add_argument("--dry", type=Path, nargs="*", default=[], metavar="CLIP")
    asked.add_argument("--only", default="", help="lines in whose name this is found (a regular expression)")
    options = asked.parse_args()
    torch.set_num_threads(1)
    try:
        print("| | " + " | ".join(options.models) + " |\n" + "|---" * (len(options.models) + 1) + "|", flush=True)
        for name, answer in questions(options.dev, options):
            if re.search(options.only, name):
                print(f"| {name} | " + " | ".join(answer(model) for model in options.models) + " |", flush=True)
    except (ModelError, ValueError, re.error) as error:
        asked.error(str(error))


if __name__ == "__main__":
    main()
