"""`derain train` on pairs: the paper's network by epochs, streams on standing pictures and clips, several processes."""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import esdnet
from esdnet.errors import ModelError
from esdnet.network import ESDNet
from esdnet.streaming import StreamNet
from tests.clips import make_clip
from tests.front_door import derain
from training.clip_writer import ClipWriter
from training.clips import ClipInfo
from training.errors import TrainingError
from training.run_config import read_run
from training.train import train

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TINY_STREAM = {"dims": [4, 4, 4], "encoder_blocks": [0, 0, 1], "decoder_blocks": [0, 0]}
TINY_ESDNET = {"kind": "esdnet", "dim": 4, "encoder_blocks": [1, 1, 1], "level3_decoder_blocks": 1,
               "decoder_blocks": [1, 1], "time_steps": 2}  # fmt: skip


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures as Rain200 ships them, with bright columns for rain."""
    root = tmp_path_factory.mktemp("rain200") / "train"
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


def derain_train(run: Path, *options: str, processes: int) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *launcher, "-m", "pipeline.cli", "train", str(run), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, env=ENVIRONMENT, check=False)


def train_here(run: Path, stop_after: float | None = None) -> list[str]:
    """The same in this process, for what needs none of its own: the lines reported."""
    lines: list[str] = []
    train(read_run(run), report=lines.append, stop_after=stop_after)
    return lines


def checkpoint(run: Path) -> dict:
    return torch.load(run.parent / "runs/tiny/last.pt", weights_only=True)


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


def test_a_loss_that_is_none_is_said(pairs: Path, tmp_path: Path) -> None:
    """PyTorch crashed in the gradient of it, without a word."""
    data = {"pairs": [{"path": str(pairs)}], "crop": 32, "batch": 2, "window": 1, "windows": 2}
    run = run_file(tmp_path, init="stream-nano", data=data, optim={"steps": 3, "lr": 1.0e30, "warmup": 0})
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "train", str(run)],
        capture_output=True, text=True, timeout=100, env=ENVIRONMENT, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.returncode
    assert re.search(r"^derain: tiny: the loss is (nan|inf) at step \d; lower optim\.lr$", done.stderr, re.MULTILINE)


def test_a_run_goes_on_with_the_crops_it_had(pairs: Path, tmp_path: Path) -> None:
    """What it carries has their size; it ended in an internal error."""
    data = {"pairs": [{"path": str(pairs)}], "crop": 32, "batch": 2, "window": 1, "windows": 2}
    train_here(run_file(tmp_path, network=TINY_STREAM, data=data, optim={"steps": 2}), stop_after=0)
    run = run_file(tmp_path, network=TINY_STREAM, data={**data, "crop": 40}, optim={"steps": 2})
    with pytest.raises(TrainingError, match=r"data\.crop: the checkpoint is of a run with other crops than 40"):
        train_here(run)


def test_another_run_may_begin_from_a_runs_folder(pairs: Path, tmp_path: Path) -> None:
    """As `derain mean` may; what else is in one is told apart."""
    data = {"pairs": [{"path": str(pairs)}], "crop": 32, "batch": 2, "window": 1, "windows": 2}
    train_here(run_file(tmp_path, network=TINY_STREAM, data=data, optim={"steps": 1}))
    first = tmp_path / "runs/tiny"
    train_here(run_file(tmp_path, name="next", init=str(first), data=data, optim={"steps": 1}))
    assert (tmp_path / "runs/next/average.safetensors").exists()
    for name, says in ((first / "last.pt", "give the average.safetensors beside it"), (tmp_path, "is a folder")):
        run = run_file(tmp_path, name="third", init=str(name), data=data)
        with pytest.raises(ModelError, match=says):
            train_here(run)
    (first / "last.pt").write_text("a letter")
    with pytest.raises(TrainingError, match=r"last\.pt: damaged checkpoint"):
        train_here(run_file(tmp_path, network=TINY_STREAM, data=data))
    torch.save({"step": 1}, first / "last.pt")
    with pytest.raises(TrainingError, match=r"last\.pt: is no checkpoint of `derain train`"):
        train_here(run_file(tmp_path, network=TINY_STREAM, data=data))


def test_a_folder_that_runs_cannot_go_to_is_said(pairs: Path, tmp_path: Path) -> None:
    data = {"pairs": [{"path": str(pairs)}], "crop": 32, "batch": 2, "window": 1, "windows": 2}
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(TrainingError, match=r"runs/tiny.*: Not a directory; .* folder names where runs go"):
        train_here(run_file(tmp_path, network=TINY_STREAM, data=data))


def test_a_full_disk_is_said_and_leaves_the_checkpoint_before(pairs: Path, tmp_path: Path) -> None:
    """It ended in an internal error and left half a checkpoint beside."""
    data = {"pairs": [{"path": str(pairs)}], "crop": 32, "batch": 2, "window": 1, "windows": 2}
    recipe = {"network": TINY_STREAM, "data": data, "optim": {"steps": 2}}
    train_here(run_file(tmp_path, **recipe), stop_after=0)
    folder, before = tmp_path / "runs/tiny", (tmp_path / "runs/tiny/last.pt").read_bytes()
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, allowed[1]))
    try:
        with pytest.raises(TrainingError, match=r"last\.pt: cannot be written \(.*\); free some space"):
            train_here(run_file(tmp_path, **recipe))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert (folder / "last.pt").read_bytes() == before
    assert not list(folder.glob("*.part"))


def test_a_loader_process_that_is_killed_is_said(pairs: Path, tmp_path: Path) -> None:
    """As the kernel kills one where memory runs out."""
    data = {"pairs": [{"path": str(pairs)}], "crop": 32, "batch": 2, "window": 1, "windows": 2}
    run = run_file(tmp_path, network=TINY_STREAM, data=data, optim={"steps": 100_000})

    def kill(line: str) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(TrainingError, match=r"a loader process was killed; where memory ran out"):
        train(read_run(run), report=kill)


def test_a_picture_that_is_damaged_inside_is_named_in_one_line(pairs: Path, tmp_path: Path) -> None:
    """Its header is whole, so the loader's process meets it in the middle of the run. That process ends with the run:
    the error kept it, and since it does not heed SIGTERM at once the command ended half a minute later."""
    shutil.copytree(pairs, tmp_path / "data")
    broken = tmp_path / "data/norain/norain-3.png"
    broken.write_bytes(broken.read_bytes()[:-800])
    data = {"pairs": [{"path": str(tmp_path / "data")}], "crop": 32, "batch": 2}
    run = run_file(tmp_path, network=TINY_ESDNET, data=data, optim={"epochs": 1})
    with pytest.raises(TrainingError, match=r"norain-3\.png: cannot be read as a picture \(") as caught:
        train_here(run)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"precision": "float16"}, "precision: float16 is for GPUs"),
        ({"device": "cuda:7"}, "device: cuda:7 asked for, card 7 of"),
        ({"device": "abacus"}, "device: 'abacus' is none"),
        ({"network": {"kind": "esdnet", "dim": -1}}, "network: dim of an ESDNet must be"),
        ({"network": {"kind": "unet"}}, "network.kind is 'unet'"),
        ({"network": {"kind": "esdnet", "foo": 1}}, "network: kind esdnet has no foo; it has dim, "),
        ({"network": {**TINY_STREAM, "blocks": 1}}, "network: kind stream has no blocks; it has dims, "),
        ({"network": {**TINY_STREAM}, "data": {"clips": [{"path": "/nowhere"}]}}, "/nowhere: no such folder"),
        (
            {"network": {**TINY_STREAM}, "data": {"batch": 4096, "crop": 4096, "stills": [{"path": "/tmp"}]}},
            "out of memory; lower data.batch",
        ),
        ({"network": {**TINY_STREAM}, "optim": {"epochs": 2}}, "optim.epochs counts passes over pictures"),
        ({"network": TINY_ESDNET, "data": {"stills": [{"path": "/tmp"}]}}, "kind esdnet trains on pairs"),
    ],
)
def test_what_cannot_be_done_is_one_line(pairs: Path, tmp_path: Path, changes: dict, says: str) -> None:
    run = run_file(
        tmp_path, **{"network": TINY_ESDNET, "data": {"pairs": [{"path": str(pairs)}], "crop": 32}, **changes}
    )
    with pytest.raises(TrainingError) as caught:
        train(read_run(run), report=lambda line: None)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


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
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "train", str(run)],
        stderr=subprocess.PIPE, text=True, start_new_session=True, env=ENVIRONMENT | {"TMPDIR": str(temporary)},
    )  # fmt: skip
    with process:
        try:
            assert any("step 5 " in line for line in process.stderr), "it ended by itself"
            os.killpg(process.pid, number)
            said = process.communicate(timeout=60)[1]
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, said
    told = re.search(r"interrupted; tiny is at step (\d+) of 100000; the same command goes on from there", said)
    assert told, said
    assert "Traceback" not in said
    assert checkpoint(run)["step"] == int(told[1]) >= 5
    assert (tmp_path / "runs/tiny/average.safetensors").exists()
    assert not list(temporary.glob("pymp-*"))  # PyTorch keeps a cache of its own there
