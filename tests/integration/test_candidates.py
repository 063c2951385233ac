"""`benchmarks/candidates.py`: one column for each set of weights, and what cannot be asked is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from esdnet.checkpoint import save
from esdnet.streaming import StreamConfig, StreamNet
from tests.clips import make_clip

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of clips and of pictures whose rainy side is what a new network, which changes nothing, leaves as it is."""
    folder = tmp_path_factory.mktemp("dev")
    for name in ("video_pairs", "rain100l/rainy", "rain100l/clean"):
        (folder / name).mkdir(parents=True)
    for side, crf in (("rainy", "40"), ("clean", "10")):
        make_clip(folder / "video_pairs" / f"a.{side}.mp4", frames=8, options={"crf": crf})
    clean = np.full((64, 96, 3), 100, np.uint8)
    cv2.imwrite(str(folder / "rain100l/clean/001.png"), clean)
    rainy = clean.copy()
    rainy[10:40, 20:90:20] = 160
    cv2.imwrite(str(folder / "rain100l/rainy/001.png"), rainy)
    network = StreamNet(StreamConfig(dims=(4, 4, 4), encoder_blocks=(0, 0, 0), decoder_blocks=(0, 0)))
    assert network.head.bias is not None
    network.head.weight.data.zero_()  # no rain
    network.head.bias.data[-2:] = -30  # and no past
    save(network, folder / "new.safetensors")
    return folder


def ask(dev: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/candidates.py"), ".", *arguments],
        cwd=dev, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_a_network_that_changes_nothing_gains_nothing_and_keeps_all(dev: Path) -> None:
    clip = str(dev / "video_pairs" / "a.clean.mp4")
    wanted = "pairs|white|stand$|dry: (a$|a.clean|a wall)"
    done = ask(dev, "new.safetensors", "stream-nano", "--frames", "3", "--only", wanted, "--dry", clip)
    assert done.returncode == 0, done.stderr
    assert "real_clips is not there and is left out" in done.stderr
    rows = {cells[1].strip(): cells[2:4] for cells in (line.split("|") for line in done.stdout.splitlines()[2:])}
    assert len(rows) == 5
    numbers = {name: [float(cell.split(",")[0].split("(")[0]) for cell in cells] for name, cells in rows.items()}
    for name, (new, nano) in numbers.items():
        assert new != nano
        if name.startswith("dry"):
            assert new > nano > 30
        elif "stand" in name:
            error = (60 * 219 / 255) ** 2 * 4 * 30 / (96 * 64)
            assert new == pytest.approx(10 * np.log10(255**2 / error), abs=0.1)
        else:
            assert abs(new) < 0.02
    assert numbers["rain: white streaks"][1] > 1


def test_weights_that_are_none_are_one_line(dev: Path) -> None:
    done = ask(dev, "nothing.safetensors", "--only", "white", "--frames", "2")
    assert done.returncode == 2
    assert "nothing.safetensors" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_folder_without_pairs_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "video_pairs").mkdir()
    done = ask(tmp_path, "stream-nano")
    assert done.returncode == 2
    assert "holds no NAME.rainy.mp4" in done.stderr.splitlines()[-1]
