"""`derain train`: it learns, and a run that was cut off goes on as if nothing had happened."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import esdnet
from esdnet.integer_weights import integers_of
from esdnet.stream_blocks import SpikeConv
from esdnet.streaming import StreamNet
from tests.front_door import derain

RECIPE = """
name: tiny
seed: 3
folder: {folder}
network: {{dims: [8, 8, 8], encoder_blocks: [0, 1, 1], decoder_blocks: [1, 1]}}
checkpoint_every: {every}
log_every: 1
data:
  stills: [{{path: {stills}}}]
  crop: 32
  window: 2
  windows: 2
  batch: 2
optim: {{steps: 6, lr: 1.0e-3, warmup: 2, ema: 0.5}}
"""


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stills")
    picture = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "0.png"), cv2.resize(picture, (128, 96), interpolation=cv2.INTER_CUBIC))
    return folder


def recipe(tmp_path: Path, stills: Path, every: int = 100) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(RECIPE.format(folder=tmp_path / "runs", stills=stills, every=every))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, stills: Path) -> Path:
    """Folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    done = derain("train", recipe(folder, stills))
    assert done.returncode == 0, done.stderr
    weights = Path(done.stdout.strip())
    assert weights.exists()
    return weights.parent


def test_a_stopped_run_ends_with_the_weights_of_an_unbroken_one(whole: Path, tmp_path: Path, stills: Path) -> None:
    broken = recipe(tmp_path, stills)
    first = derain("train", broken, "--minutes", "0.0001")  # stops after a step
    assert first.returncode == 0, first.stderr
    second = derain("train", broken)
    assert "goes on at step" in second.stderr
    state, expected = (torch.load(f / "last.pt", weights_only=True) for f in (tmp_path / "runs/tiny", whole))
    assert state["step"] == expected["step"] == 6
    assert all(torch.equal(state["weights"][name], tensor) for name, tensor in expected["weights"].items())


@pytest.mark.parametrize("more", ["teacher: {model: stream-nano}\n", "muon"])
def test_so_does_one_with_more_to_keep(tmp_path: Path, stills: Path, more: str) -> None:
    """A teacher's membranes are in the checkpoint too, they are part of what is learnt; and so is Muon's momentum."""
    states = []
    for name, limits in (("whole", [[]]), ("broken", [["--minutes", "0.0001"], []])):
        (tmp_path / name).mkdir()
        path = recipe(tmp_path / name, stills)
        if more == "muon":
            path.write_text(path.read_text().replace("optim: {", "optim: {muon: true, "))
        else:
            path.write_text(path.read_text() + more)
        for limit in limits:
            done = derain("train", path, *limit)
            assert done.returncode == 0, done.stderr
        states.append(torch.load(tmp_path / name / "runs/tiny/last.pt", weights_only=True))
    whole, broken = states
    assert all(torch.equal(broken["weights"][name], tensor) for name, tensor in whole["weights"].items())


def test_a_teacher_that_is_not_there_is_one_line(tmp_path: Path, stills: Path) -> None:
    path = recipe(tmp_path, stills)
    path.write_text(path.read_text() + "teacher: {model: nobody}\n")
    done = derain("train", path)
    assert done.returncode == 1
    assert "unknown model 'nobody'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_does_not_change_its_optimizer(tmp_path: Path, stills: Path) -> None:
    """What one has gathered is nothing to another."""
    path = recipe(tmp_path, stills)
    assert derain("train", path, "--minutes", "0.0001").returncode == 0
    path.write_text(path.read_text().replace("optim: {", "optim: {muon: true, "))
    done = derain("train", path)
    assert done.returncode == 1
    assert "was begun without optim.muon" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_it_leaves_is_a_model(whole: Path) -> None:
    """Of whole numbers where it spikes; the checkpoint, from which a run goes on, is as it was learnt."""
    network = esdnet.load(whole / "average.safetensors")
    assert isinstance(network, StreamNet)
    kept = {name: module.conv.weight for name, module in network.named_modules() if isinstance(module, SpikeConv)}
    learnt = torch.load(whole / "last.pt", weights_only=True)["average"]["shadow"]
    assert kept
    assert all(integers_of(weight) is not None for weight in kept.values())
    assert all(integers_of(learnt[f"{name}.conv.weight"]) is None for name in kept)
    assert list((whole / "tensorboard").glob("events*"))


def test_errors_are_one_line(tmp_path: Path, stills: Path) -> None:
    missing = derain("train", tmp_path / "none.yaml")
    assert missing.returncode == 1
    assert len(missing.stderr.strip().splitlines()) == 1
    assert "none.yaml" in missing.stderr
    path = recipe(tmp_path, stills)
    path.write_text(path.read_text().replace("dims: [8, 8, 8]", "dims: [8, 8]"))
    wrong = derain("train", path)
    assert wrong.returncode == 1
    assert wrong.stderr.strip().startswith("derain: network: a StreamNet has three dims")
    assert len(wrong.stderr.strip().splitlines()) == 1
