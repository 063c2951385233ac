"""`derain eval` as a user meets it, on rain made by `derain rain`: a small random network, and the shipped one."""

from __future__ import annotations

import json
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from esdnet import load
from tests.front_door import derain
from training.clip_writer import ClipWriter
from training.clips import ClipInfo


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NAME.clean.mkv and NAME.rainy.mkv of two pans over a smooth picture."""
    folder = tmp_path_factory.mktemp("clips")
    info = ClipInfo(96, 64, Fraction(1, 25), Fraction(25), False, 1, 1)
    chroma = np.full((32, 48), 120, np.uint8)
    for name, speed in (("pan", 2), ("still", 0)):
        with ClipWriter(folder / f"{name}.clean.mkv", info, codec="ffv1") as writer:
            for number in range(4):
                x, y = np.arange(96) + speed * number, np.arange(64)[:, None]
                luma = 90 + 30 * np.sin(x / 9) + 20 * np.cos(y / 7)
                writer.write((luma.astype(np.uint8), chroma, chroma), number, 1)
        made = derain(
            *("rain", folder / f"{name}.clean.mkv", folder / f"{name}.rainy.mkv", "--seed", 1, "--codec", "ffv1"),
            *("--intensity", 0.6, "--opacity", 0.4),
        )
        assert made.returncode == 0, made.stderr
    return folder


def test_json_reports_each_clip_and_their_mean(clips, tiny):
    done = derain("eval", "--rainy", clips, "--clean", clips, "--json", "--model", tiny)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["model"], result["frames"]) == (str(tiny), 8)
    assert result["runtime"] not in ("", "auto")
    assert [clip["name"] for clip in result["clips"]] == ["pan", "still"]
    for row in (*result["clips"], result["mean"]):
        assert 15 < row["rainy"]["psnr_y"] < 45
        assert row["rainy"]["psnr_y"] + row["gain_db"] == pytest.approx(row["derained"]["psnr_y"])
        assert row["derained"] != row["rainy"]
        assert row["reset"] != row["derained"]  # one run gives both
        assert row["reset"]["psnr_y"] + row["carry_db"] == pytest.approx(row["derained"]["psnr_y"])
        assert 0 < row["rainy"]["ssim_rgb"] < 1
        assert 0 < row["energy"]["ratio"] < 1.5
    assert result["network"]["parameters"] == sum(p.numel() for p in load(tiny).parameters())
    layers = {layer["name"]: layer for layer in result["clips"][0]["energy"]["layers"]}
    assert layers["stem"]["spikes"] is None and not layers["stem"]["spiking"]
    assert layers["encoder3.0.first.conv"]["spiking"]
    gains = [clip["gain_db"] for clip in result["clips"]]
    assert result["mean"]["gain_db"] == pytest.approx(np.mean(gains))


def test_a_reset_before_each_frame_gives_another_result_and_says_so(clips, tiny):
    pair = ["--rainy", clips / "still.rainy.mkv", "--clean", clips / "still.clean.mkv", "--json", "--model", tiny]
    carried, forgotten = (json.loads(derain("eval", *pair, *more).stdout) for more in ([], ["--reset-every-frame"]))
    assert (carried["reset_every_frame"], forgotten["reset_every_frame"]) == (False, True)
    assert carried["mean"]["rainy"] == forgotten["mean"]["rainy"]
    assert carried["mean"]["derained"] != forgotten["mean"]["derained"]


def test_markdown_has_quality_cost_and_energy(clips, tiny):
    pair = ["--rainy", clips / "still.rainy.mkv", "--clean", clips / "still.clean.mkv", "--model", tiny]
    done = derain("eval", *pair, "--markdown", "--energy-frames", 2)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    header = next(line for line in lines if line.startswith("| clip"))
    for column in ("PSNR Y", "SSIM RGB", "reset each frame", "carry dB", "energy/twin"):
        assert column in header
    assert all(line.count("|") == header.count("|") for line in lines if line.startswith(("| still", "| **mean")))
    assert "of the non-spiking twin's" in done.stdout
    assert "| stem | none: multiplies | " in done.stdout


def test_a_benchmark_is_measured_by_its_layout(tmp_path, tiny):
    """Rain12 as it is shipped: standing pictures, shown so often that the membranes have settled."""
    rng = np.random.default_rng(0)
    for number in (1, 2):
        clean = cv2.resize(rng.integers(0, 200, (4, 6, 3), dtype=np.uint8), (48, 32), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / f"{number:03}_GT.png"), clean)
        cv2.imwrite(str(tmp_path / f"{number:03}_in.png"), np.clip(clean.astype(int) + 30, 0, 255).astype(np.uint8))
    measure = ["eval", "--data", tmp_path, "--model", tiny, "--json", "--carried-only"]
    done = derain(*measure)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["frames"], result["repeat"]) == (2, 8)
    assert all("reset" not in row and row["derained"]["flicker"] is None for row in result["clips"])
    assert result["mean"]["energy"]["ratio"] > 0
    (tmp_path / "002_GT.png").unlink()
    broken = derain(*measure)
    assert broken.returncode == 1
    assert "1 rainy file has no clean counterpart, 002_in.png" in broken.stderr


def test_the_default_model_takes_rain_and_flicker_away(clips):
    done = derain("eval", "--rainy", clips, "--clean", clips, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["model"] == "stream"
    for row in result["clips"]:
        assert row["gain_db"] > 0.5
        assert row["derained"]["flicker"] < row["rainy"]["flicker"]


def test_the_table_names_clips_and_model(clips, tiny):
    done = derain("eval", "--rainy", clips, "--clean", clips, "--model", tiny)
    assert done.returncode == 0, done.stderr
    for word in ("tiny.safetensors", "pan", "still", "mean of 2", "PSNR Y"):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("more", "code", "text"),
    [
        (["--model", "nonesuch"], 2, "nonesuch"),
        (["--clean", "/nowhere"], 1, "/nowhere is not there"),
        (["--model", "/nowhere.safetensors"], 2, "/nowhere.safetensors"),
        (["--runtime", "nonesuch"], None, "nonesuch"),
        (["--markdown"], 2, "--markdown or --json"),
        (["--data", "."], 2, "not both"),
    ],
)
def test_what_cannot_be_measured_is_one_line(clips, tiny, more, code, text):
    done = derain("eval", "--rainy", clips, "--clean", clips, "--json", "--model", tiny, *more)
    assert done.returncode in ((code,) if code else (1, 2)), done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("derain: ")
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(find_spec("torchmetrics") is not None, reason="the lpips extra is installed")
def test_lpips_that_is_asked_for_and_missing_is_an_error(clips, tiny):
    pair = ["--rainy", clips / "still.rainy.mkv", "--clean", clips / "still.clean.mkv", "--model", tiny]
    done = derain("eval", *pair, "--lpips")
    assert done.returncode == 1
    assert "LPIPS needs the lpips extra: pip install 'derain[lpips]'" in done.stderr
