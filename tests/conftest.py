"""Fixtures of every test."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

# Threads that wait for work sleep: as two processes on two cores they would otherwise spin while the other's has it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

Derain = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).parents[1]


@pytest.fixture
def derain(tmp_path: Path) -> Derain:
    """`derain(*args)`: the command line in a process of its own, run in this test's folder and with a time limit."""

    def call(*args: str | Path, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipeline", *map(str, args)]
        env = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"} | environment
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=timeout)

    return call


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this test's processes have their sockets, so that what is left there can be seen: a folder of its own whose
    path is short enough for them, which `tmp_path` is not where tests run as several processes."""
    with tempfile.TemporaryDirectory(prefix="s") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


@pytest.fixture(autouse=True)
def _scheduled_as_ever() -> Iterator[None]:
    """Clips that tests make with SVT-AV1 give this process real-time priority, and all that it starts afterwards."""
    if find_spec("av") is None:  # `make test-tensorrt` installs the network's packages alone, and encodes nothing
        yield
        return
    from pipeline.sinks import scheduling

    with scheduling.kept():
        yield


@pytest.fixture(scope="session", autouse=True)
def _graphs_of_this_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compiled graphs of networks are kept for this run of the tests alone, processes that tests start included."""
    os.environ["DERAIN_CACHE"] = str(tmp_path_factory.mktemp("graphs"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small streaming network: random ones that visibly change the picture and carry something from frame
    to frame, so that whatever is done to its membranes shows."""
    import torch

    from esdnet.checkpoint import save
    from esdnet.streaming import StreamConfig, StreamNet

    torch.manual_seed(0)
    network = StreamNet(StreamConfig(dims=(8, 8, 8), encoder_blocks=(0, 0, 1), decoder_blocks=(0, 1)))
    torch.nn.init.normal_(network.head.weight, std=0.003)
    torch.nn.init.kaiming_uniform_(network.stem.weight)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save(network, path, {})
    return path
