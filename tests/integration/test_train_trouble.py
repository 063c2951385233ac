"""`derain train` where something is wrong with the data, the settings, the machine or a checkpoint: one line."""

from __future__ import annotations

import multiprocessing
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from esdnet.errors import ModelError
from tests.training_runs import ENVIRONMENT, TINY_ESDNET, TINY_STREAM, make_pairs, run_file, train_here
from training.errors import TrainingError
from training.run_config import read_run
from training.train import train


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pairs(tmp_path_factory.mktemp("rain200") / "train")


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


def test_temporary_files_in_too_deep_a_folder(pairs: Path, tmp_path: Path) -> None:
    """Batches go over sockets there, whose paths must be short: the run stood still before its first step."""
    data = {"pairs": [{"path": str(pairs)}], "crop": 32, "batch": 2, "window": 1, "windows": 2}
    run = run_file(tmp_path, network=TINY_STREAM, data=data, optim={"steps": 2})
    for letters, code in ((76, 1), (75, 0)):
        folder = Path(tempfile.mkdtemp("x" * (letters - len("/tmp/tmp12345678")), dir="/tmp"))
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pipeline", "train", str(run)],
                capture_output=True, text=True, timeout=100, env=ENVIRONMENT | {"TMPDIR": str(folder)}, check=False,
            )  # fmt: skip
        finally:
            shutil.rmtree(folder)
        assert done.returncode == code, done.stderr
        said = f"derain: {folder}: too long a path for sockets; set TMPDIR to a shorter one, like /tmp"
        assert (said in done.stderr.splitlines()) == (code == 1), done.stderr


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
