"""`derain inspect`: one page that shows where rain makes neurons fire."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from esdnet import checkpoint
from esdnet.network import ESDNet, EsdnetConfig
from esdnet.streaming import StreamConfig, StreamNet
from tests.clips import make_clip
from tests.front_door import derain


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    network = StreamNet(StreamConfig(dims=(4, 4, 4), encoder_blocks=(0, 1, 1), decoder_blocks=(0, 0), contrast=True))
    torch.nn.init.normal_(network.head.weight, std=0.003)
    checkpoint.save(network, tmp_path / "stream.safetensors")
    return tmp_path / "stream.safetensors"


def pictures(page: Path) -> list[np.ndarray]:
    found = re.findall(r"data:image/png;base64,([^\"]+)", page.read_text(encoding="utf-8"))
    return [cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR) for text in found]


def test_a_clip_becomes_a_page_of_maps_membranes_and_rates(tmp_path: Path, stream: Path) -> None:
    clip = tmp_path / "clip.mkv"
    make_clip(clip, frames=5, width=70, height=50)  # no multiple of 8
    done = derain("inspect", clip, tmp_path / "page.html", "--clean", clip, "--model", stream, "--frames", 4, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["frames"] == 4
    names = [layer["name"] for layer in result["layers"]]
    assert "encoder3.0.first.lif" in names
    assert all(len(layer["rates"]) == 4 and 0 <= layer["rate"] <= 1 for layer in result["layers"])
    assert all(layer["rain_over_dry"] is None for layer in result["layers"])  # it never rains on its own truth
    page = tmp_path / "page.html"
    assert ">nan<" not in page.read_text(encoding="utf-8")  # a dash stands where there is nothing to measure
    drawn = pictures(page)
    assert len(drawn) == 4  # pictures, maps, membranes, rates
    assert all(picture is not None and picture.std() > 5 for picture in drawn)
    assert "from the clean clip" in page.read_text(encoding="utf-8")


def test_rain_is_where_neurons_fire_that_see_it(tmp_path: Path) -> None:
    """The paper's network on a picture; where it rains is known from the clean one."""
    torch.manual_seed(0)
    network = ESDNet(EsdnetConfig(4, (1, 1, 1), 1, (1, 1), 2)).eval()
    checkpoint.save(network, tmp_path / "esdnet.safetensors")
    clean = np.full((32, 48, 3), 60, np.uint8)
    rainy = clean.copy()
    rainy[:, 10:14] = 220
    for name, picture in (("clean", clean), ("rainy", rainy)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
    done = derain(
        *("inspect", tmp_path / "rainy.png", tmp_path / "page.html", "--clean", tmp_path / "clean.png"),
        *("--model", tmp_path / "esdnet.safetensors", "--frames", 1, "--json"),
    )
    assert done.returncode == 0, done.stderr
    first = json.loads(done.stdout)["layers"][0]
    assert first["name"] == "encoder_level1.0.residual.0"
    assert first["rain_over_dry"] > 1.2  # four times the current into the same thresholds
    assert len(pictures(tmp_path / "page.html")) == 3  # it carries no membranes


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["nowhere.mkv"], "nowhere.mkv is not there"),
        (["clip.mkv", "--clean", "short.mkv"], "ends before"),
        (["clip.mkv", "--clean", "wide.mkv"], "the clean clip is 96×48"),
        (["clip.mkv", "--start", "40"], "has no frame 40"),
        (["clip.mkv", "no/such/page.html"], "cannot write no/such/page.html"),
    ],
)
def test_what_cannot_be_looked_into_is_one_line(
    tmp_path: Path, stream: Path, args: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(tmp_path / "clip.mkv", frames=3)
    make_clip(tmp_path / "short.mkv", frames=2)
    make_clip(tmp_path / "wide.mkv", frames=3, width=96)
    monkeypatch.chdir(tmp_path)
    done = derain("inspect", *args, "--model", stream)
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
