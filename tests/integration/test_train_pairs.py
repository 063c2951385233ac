"""`derain train` on pairs: the paper's network by epochs, streams on standing pictures and clips, several processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import esdnet
from esdnet.network import ESDNet
from esdnet.streaming import StreamNet
from tests.clips import make_clip
from tests.front_door import derain
from tests.training_runs import ENVIRONMENT, TINY_ESDNET, TINY_STREAM, checkpoint, make_pairs, run_file, train_here
from training.clip_writer import ClipWriter
from training.clips import ClipInfo
from training.errors import TrainingError
from training.run_config import read_run
from training.train import train


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pairs(tmp_path_factory.mktemp("rain200") / "train")


def derain_train(run: Path, *options: str, processes: int) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *launcher, "-m", "pipeline.cli", "train", str(run), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, env=ENVIRONMENT, check=False)


def same(one: dict, other: dict) -> bool:
    return all(
        torch.equal(tensor, other[part][name]) for part in ("weights", "state") for name, tensor in one[part].items()
    )


def test_the_papers_network_learns_by_epochs_and_resumes(pairs: Path, tmp_path: Path) -> None:
    recipe = {
        "network": TINY_ESDNET,
        "data": {"pairs": [{"path": str(pairs)}], "crop": 32, "batch": 4},
        "optim": {"epochs": 4, "warmup_epochs": 1, "lr": 1.0e-3, "min_lr": 1.0e-7, "clip_norm": None},
        "loss": {"luma": 0, "chroma": 0, "ssim": 1},
    }
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    whole, broken = (run_file(tmp_path / name, **recipe) for name in ("whole", "broken"))
    train_here(whole)
    train_here(broken, stop_after=0.0)
    assert checkpoint(broken)["step"] == 1
    assert "tiny: goes on at step 1 of 6" in train_here(broken)  # 4 passes over 6 pictures, 4 at a time
    assert same(checkpoint(whole), checkpoint(broken))
    network = esdnet.load(tmp_path / "whole/runs/tiny/average.safetensors")
    assert isinstance(network, ESDNet)
    assert network.config.dim == 4
    log = EventAccumulator(str(tmp_path / "whole/runs/tiny/tensorboard"), size_guidance={"scalars": 0}).Reload()
    assert {"loss", "ssim", "psnr_y", "lr", "loader_share"} <= set(log.Tags()["scalars"])
    assert [event.step for event in log.Scalars("loss")] == [1, 2, 3, 4, 5, 6]


def test_a_stream_on_pairs_logs_what_it_sees_and_what_its_neurons_do(pairs: Path, tmp_path: Path) -> None:
    data = {"pairs": [{"path": str(pairs), "layout": "rain200"}], "crop": 32, "window": 2, "windows": 2, "batch": 2}
    run = run_file(tmp_path, network=TINY_STREAM, data=data, optim={"steps": 25})
    train_here(run)
    log = EventAccumulator(str(tmp_path / "runs/tiny/tensorboard")).Reload()
    tags = log.Tags()
    assert {f"pictures/{side}" for side in ("rainy", "derained", "clean", "residual")} <= set(tags["images"])
    assert {"firing/encoder3.0.first.lif", "spikes/down1.lif"} <= set(tags["scalars"])
    histograms = set(tags["histograms"])
    assert {"membrane/picture", "membrane/encoder3.0.first", "threshold/down1.lif"} <= histograms
    assert {"leak/encoder3.0.first.lif", "tau/encoder3.0.first.lif"} <= histograms
    rates = [event.value for event in log.Scalars("firing/down1.lif")]
    assert len(rates) == 5 and all(0 <= rate <= 1 for rate in rates)


def test_a_killed_run_goes_on_from_its_checkpoint_to_the_same_losses(pairs: Path, tmp_path: Path) -> None:
    data = {"pairs": [{"path": str(pairs)}], "crop": 32, "window": 2, "windows": 2, "batch": 2, "workers": 2}
    recipe = {"network": TINY_STREAM, "data": data, "optim": {"steps": 7}, "checkpoint_every": 2}
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole, killed = (run_file(tmp_path / name, **recipe) for name in ("whole", "killed"))
    told = train_here(whole)
    assert told[0] == f"{pairs}: 6 pictures (layout rain200)"

    def die(line: str) -> None:
        if "step 5" in line:
            raise SystemExit(line)  # between two checkpoints: nothing more is written

    with pytest.raises(SystemExit, match="step 5"):
        train(read_run(killed), report=die)
    assert checkpoint(killed)["step"] == 4
    told_again = train_here(killed)
    assert "tiny: goes on at step 4 of 7" in told_again
    shown = [re.search(r"step 5 loss [\d.]+ PSNR-Y [\d.]+", " ".join(lines)) for lines in (told, told_again)]
    assert shown[0] and shown[1] and shown[0][0] == shown[1][0]  # its averages, too, go on
    logs = [EventAccumulator(str(run.parent / "runs/tiny/tensorboard")).Reload() for run in (whole, killed)]
    one, other = ({event.step: event.value for event in log.Scalars("loss")} for log in logs)
    assert list(one) == [1, 2, 3, 4, 5, 6, 7]
    assert one == other
    assert same(checkpoint(whole), checkpoint(killed))


@pytest.mark.slow
@pytest.mark.timeout(600)  # three times two processes that import PyTorch
def test_two_processes_train_one_network_and_resume(pairs: Path, tmp_path: Path) -> None:
    recipe = {
        "network": TINY_STREAM,
        "data": {"pairs": [{"path": str(pairs)}], "crop": 32, "window": 2, "windows": 2, "batch": 2},
        "optim": {"steps": 3, "accumulate": 2},
    }
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    whole, broken = (run_file(tmp_path / name, **recipe) for name in ("whole", "broken"))
    done = derain_train(whole, processes=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("average.safetensors") == 1  # one process speaks for all
    assert derain_train(broken, "--minutes", "0.00001", processes=2).returncode == 0
    assert checkpoint(broken)["step"] == 1
    resumed = derain_train(broken, processes=2)
    assert resumed.returncode == 0, resumed.stderr
    one, other = checkpoint(whole), checkpoint(broken)
    assert one["step"] == other["step"] == 3
    assert same(one, other)
    assert all(len(tensor) == 8 for tensor in one["state"].values())  # 2 processes × 2 batches × 2 streams
    with pytest.raises(TrainingError, match="begun with batches of 8, now 4"):
        train_here(whole)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_share_the_pictures_of_a_batch(pairs: Path, tmp_path: Path) -> None:
    data = {"pairs": [{"path": str(pairs)}], "crop": 32, "batch": 3}
    run = run_file(tmp_path, network=TINY_ESDNET, data=data, optim={"epochs": 2})
    done = derain_train(run, processes=2)
    assert done.returncode == 0, done.stderr
    assert checkpoint(run)["step"] == 2  # 2 × 3 patches a step, 6 pictures an epoch
    assert checkpoint(run)["batch"] == 6


def test_five_lines_and_one_command_train_on_ones_own_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = tmp_path / "holiday"
    clips.mkdir()
    info = ClipInfo(128, 112, Fraction(1, 25), Fraction(25), False, 1, 1)
    chroma = np.full((56, 64), 120, np.uint8)
    with ClipWriter(clips / "sea.mkv", info, codec="ffv1") as writer:
        for number in range(6):
            x, y = np.arange(128) + 3 * number, np.arange(112)[:, None]
            writer.write(((90 + 30 * np.sin(x / 9) + 20 * np.cos(y / 7)).astype(np.uint8), chroma, chroma), number, 1)
    run = tmp_path / "mine.yaml"
    run.write_text("name: mine\ninit: stream-nano\ndata:\n  clips: [{path: holiday}]\noptim: {steps: 2}\n")
    monkeypatch.chdir(tmp_path)
    done = derain("train", "mine.yaml")
    assert done.returncode == 0, done.stderr
    trained = esdnet.load(tmp_path / done.stdout.strip())
    assert isinstance(trained, StreamNet)
    assert trained.config == esdnet.load("stream-nano").config


def test_pairs_of_videos_are_trained_on(tmp_path: Path) -> None:
    """Looking at a pair of videos left a decoder that was freed in the loader's process, where it waited for threads
    that are not there: the run stood still before its first step."""
    (tmp_path / "pairs").mkdir()
    for side, crf in (("rainy", "40"), ("clean", "10")):
        make_clip(tmp_path / "pairs" / f"a.{side}.mp4", frames=6, options={"crf": crf})
    data = {"pairs": [{"path": str(tmp_path / "pairs")}], "crop": 32, "batch": 2, "window": 2, "windows": 2,
            "cache": str(tmp_path / "cache")}  # fmt: skip
    run = run_file(tmp_path, network=TINY_STREAM, data=data, optim={"steps": 2})
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "train", str(run)],
        capture_output=True, text=True, timeout=100, env=ENVIRONMENT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "pairs: 1 clip (layout named)" in done.stderr
    assert checkpoint(run)["step"] == 2


@pytest.mark.parametrize(
    ("number", "network"), [(signal.SIGINT, TINY_STREAM), (signal.SIGTERM, TINY_ESDNET), (signal.SIGHUP, TINY_STREAM)]
)
def test_asked_to_stop_it_keeps_what_it_has_learnt(
    pairs: Path, tmp_path: Path, number: signal.Signals, network: dict[str, object]
) -> None:
    """Ctrl-C and a batch system's SIGTERM ended a run where it stood: up to 200 steps since the last checkpoint were
    lost, and the loader left a folder in the temporary one. Both go to the whole group of processes."""
    data = {"pairs": [{"path": str(pairs)}], "crop": 32, "batch": 2, "window": 1, "windows": 2}
    run = run_file(tmp_path, network=network, data=data, optim={"steps": 100_000}, checkpoint_every=100_000)
    # a path short enough for the loader's sockets
    with tempfile.TemporaryDirectory(dir="/tmp") as temporary:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "train", str(run)],
            stderr=subprocess.PIPE, text=True, start_new_session=True, env=ENVIRONMENT | {"TMPDIR": temporary},
        )  # fmt: skip
        with process:
            try:
                assert any("step 5 " in line for line in process.stderr), "it ended by itself"
                os.killpg(process.pid, number)
                said = process.communicate(timeout=60)[1]
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        assert not list(Path(temporary).glob("pymp-*"))  # PyTorch keeps a cache of its own there
    assert process.returncode == 130, said
    told = re.search(r"interrupted; tiny is at step (\d+) of 100000; the same command goes on from there", said)
    assert told, said
    assert "Traceback" not in said
    assert checkpoint(run)["step"] == int(told[1]) >= 5
    assert (tmp_path / "runs/tiny/average.safetensors").exists()
