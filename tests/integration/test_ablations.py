"""`benchmarks/ablations.py`: an arm changes what it says and nothing else, and a run that was stopped goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.clips import make_clip

ROOT = Path(__file__).parents[2]
RECIPE = """
name: tiny
seed: 3
network:
  {{dims: [8, 8, 8], encoder_blocks: [0, 1, 1], decoder_blocks: [1, 1], spike_levels: 16, threshold: 0.25, seen: true}}
data:
  stills: [{{path: {stills}}}]
  crop: 32
  window: 4
  windows: 2
  batch: 2
  singles: 1
optim: {{steps: 3, lr: 1.0e-3, warmup: 1, ema: 0.5}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe and a pair of clips, of which the rainy one is the coarser."""
    folder = tmp_path_factory.mktemp("ablations")
    (folder / "stills").mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "stills" / "0.png"), cv2.resize(picture, (128, 96), interpolation=cv2.INTER_CUBIC))
    (folder / "run.yaml").write_text(RECIPE.format(stills=folder / "stills"))
    for side, crf in (("rainy", "40"), ("clean", "10")):
        make_clip(folder / f"a.{side}.mp4", frames=8, options={"crf": crf})
    return folder


def ablate(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/ablations.py"), ".", "--run", "run.yaml", *arguments],
        cwd=place, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def rows(place: Path) -> dict[str, dict[str, Any]]:
    return {row["arm"]: row for row in map(json.loads, (place / "rows.jsonl").read_text().splitlines())}


def test_every_change_is_made_and_rows_are_kept(place: Path) -> None:
    first = ablate(place, "--arms", "base,binary,zero-reset,straight", "--out", "rows.jsonl")
    assert first.returncode == 0, first.stderr
    found = rows(place)
    assert list(found) == ["base", "binary", "zero-reset", "straight"]
    assert found["binary"]["energy"] < found["base"]["energy"]  # fewer spikes
    for arm in ("zero-reset", "straight"):
        assert found[arm]["kmac"] == found["base"]["kmac"]
        assert found[arm]["carried"] != found["base"]["carried"]
    again = ablate(place, "--arms", "base,flicker,firing", "--out", "rows.jsonl")
    assert again.returncode == 0, again.stderr
    assert "base {" not in again.stderr  # not run a second time
    assert rows(place) == found | {arm: rows(place)[arm] for arm in ("flicker", "firing")}
    assert [line.split(" | ")[0] for line in again.stdout.splitlines()[2:]] == [
        "| base", "| binary", "| zero-reset", "| straight", "| flicker", "| firing",
    ]  # fmt: skip


def test_arms_of_another_length_do_not_pass_for_these(place: Path) -> None:
    """Rows of a trial of two steps were taken for done, and stood in the table beside those of the whole run."""
    assert ablate(place, "--arms", "base", "--steps", "1", "--out", "short.jsonl").returncode == 0
    mixed = ablate(place, "--arms", "base,binary", "--out", "short.jsonl")
    assert mixed.returncode == 2
    assert "holds arms of 1 steps, not 3" in mixed.stderr.splitlines()[-1]


def test_what_will_not_do_is_one_line(place: Path, tmp_path: Path) -> None:
    missing = ablate(place, "--run", "none.yaml")
    assert missing.returncode == 2
    assert "none.yaml: No such file" in missing.stderr.splitlines()[-1]
    unknown = ablate(place, "--arms", "base,bigger")
    assert unknown.returncode == 2
    assert "no bigger" in unknown.stderr.splitlines()[-1]
    (tmp_path / "run.yaml").write_text((place / "run.yaml").read_text())
    for side in ("rainy", "clean"):
        make_clip(tmp_path / f"a.{side}.mp4", frames=3)
    short = ablate(tmp_path)
    assert short.returncode == 2
    assert "8 frames" in short.stderr.splitlines()[-1]
