"""The README's picture: one frame of the demo, rainy and derained side by side.

make demo && .venv/bin/python examples/make_before_after.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Annotated

import cv2
import typer

from training.clips import ClipReader

ROOT = Path(__file__).parents[1]


def make_before_after(
    demo: Annotated[Path, typer.Option(help="Where `make demo` left its videos.")] = ROOT / "demo",
    frame: Annotated[int, typer.Option(min=0, help="Which frame, from 0.")] = 60,
    out: Annotated[Path, typer.Option(help="The picture to write.")] = ROOT / "docs" / "before_after.jpg",
) -> None:
    """Write the README's picture from the demo's videos."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = []
        for name in ("rainy", "derained"):
            with ClipReader(demo / f"{name}.mp4") as reader:
                found = next(islice(reader, frame, None), None)
            if found is None:
                raise SystemExit(f"{demo / name}.mp4 has no frame {frame}")
            pictures.append(str(Path(folder) / f"{name}.png"))
            cv2.imwrite(pictures[-1], cv2.cvtColor(found.rgb(), cv2.COLOR_RGB2BGR))
        compare = ["compare", *pictures, str(out), "--labels", "rainy,derained", "--overwrite"]
        raise typer.Exit(subprocess.run([sys.executable, "-m", "pipeline", *compare]).returncode)


if __name__ == "__main__":
    typer.run(make_before_after)
