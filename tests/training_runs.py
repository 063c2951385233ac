"""Small training runs on six pairs of pictures, for tests of training."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml

from training.run_config import read_run
from training.train import train

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TINY_STREAM = {"dims": [4, 4, 4], "encoder_blocks": [0, 0, 1], "decoder_blocks": [0, 0]}
TINY_ESDNET = {"kind": "esdnet", "dim": 4, "encoder_blocks": [1, 1, 1], "level3_decoder_blocks": 1,
               "decoder_blocks": [1, 1], "time_steps": 2}  # fmt: skip


def make_pairs(root: Path) -> Path:
    """Six pictures as Rain200 ships them, with bright columns for rain."""
    (root / "norain").mkdir(parents=True)
    (root / "rain/X2").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(1, 7):
        clean = cv2.resize(rng.integers(0, 200, (6, 8, 3), dtype=np.uint8), (64, 48), interpolation=cv2.INTER_CUBIC)
        rainy = clean.copy()
        rainy[:, rng.integers(0, 64, 8)] = 230
        cv2.imwrite(str(root / f"norain/norain-{number}.png"), clean)
        cv2.imwrite(str(root / f"rain/X2/norain-{number}x2.png"), rainy)
    return root


def run_file(folder: Path, **changes: object) -> Path:
    run = {"name": "tiny", "seed": 5, "folder": str(folder / "runs"), "log_every": 1, **changes}
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(run))
    return path


def train_here(run: Path, stop_after: float | None = None) -> list[str]:
    """The same in this process, for what needs none of its own: the lines reported."""
    lines: list[str] = []
    train(read_run(run), report=lines.append, stop_after=stop_after)
    return lines


def checkpoint(run: Path) -> dict:
    return torch.load(run.parent / "runs/tiny/last.pt", weights_only=True)
