"""GPU runtimes on a machine that has no GPU: one clear line, whichever way one asks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from esdnet import Derainer
from esdnet.errors import ModelError
from esdnet.runtimes import gpu
from esdnet.runtimes.runtime import RuntimeMissing
from tests.clips import make_clip
from tests.conftest import Derain

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU that PyTorch can use")


@pytest.mark.parametrize("runtime", ["tensorrt", "cuda_graph"])
def test_a_gpu_runtime_asked_for_by_name_is_one_line(runtime: str) -> None:
    with pytest.raises(ModelError, match=rf"runtime {runtime} needs an NVIDIA GPU") as missing:
        Derainer("stream-nano", runtime=runtime)
    assert "\n" not in str(missing.value)


def test_auto_passes_over_them_and_advises_nothing_that_would_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "nvidia_driver", lambda: "")
    derainer = Derainer("stream-nano")
    assert derainer.runtime in ("openvino_bf16", "openvino", "eager")
    assert "GPU" not in derainer.note and "CUDA" not in derainer.note


def test_what_is_missing_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "nvidia_driver", lambda: "580.65.06")
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(RuntimeMissing, match="a CUDA build of PyTorch") as wrong_build:
        gpu.require_gpu("cuda_graph")
    assert "pytorch.org" in wrong_build.value.advice
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(RuntimeMissing, match=r"the driver here is 580\.65\.06") as old_driver:
        gpu.require_gpu("cuda_graph")
    assert "update the driver" in old_driver.value.advice
    monkeypatch.setattr(gpu, "nvidia_driver", lambda: "")
    with pytest.raises(RuntimeMissing, match="no NVIDIA driver is loaded") as no_driver:
        gpu.require_gpu("cuda_graph")
    assert not no_driver.value.advice


def test_run_and_export_say_so_in_one_line(derain: Derain, tmp_path: Path) -> None:
    make_clip(tmp_path / "rainy.mp4", frames=2)
    ran = derain("run", "rainy.mp4", "out.mp4", "--model", "stream-nano", "--runtime", "tensorrt", "--quiet")
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1 and "runtime tensorrt needs an NVIDIA GPU" in ran.stderr
    assert not (tmp_path / "out.mp4").exists()
    built = derain("export", "stream-nano", "--size", "640x360")
    assert built.returncode == 1
    assert len(built.stderr.splitlines()) == 1 and "runtime tensorrt needs an NVIDIA GPU" in built.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("stream-nano", "--size", "640"), "--size 640"),
        (("stream-nano", "--size", "640x360", "--runtime", "eager"), "nothing of it is built ahead"),
        (("stream-nano",), "--size"),
    ],
)
def test_export_used_wrongly(derain: Derain, arguments: tuple[str, ...], told: str) -> None:
    wrong = derain("export", *arguments)
    assert wrong.returncode == 2
    assert told in wrong.stderr
