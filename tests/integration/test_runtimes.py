"""`derain run` says which runtime it got, and what was missing for a better one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clips import make_clip
from tests.conftest import ROOT, Derain
from tests.facts import facts

NO_OPENVINO = "raise ModuleNotFoundError(\"No module named 'openvino'\", name='openvino')\n"


@pytest.fixture
def without(tmp_path: Path) -> dict[str, str]:
    """Environment of a machine where OpenVINO is not installed."""
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "openvino.py").write_text(NO_OPENVINO)
    return {"PYTHONPATH": f"{tmp_path / 'shadow'}:{ROOT}"}


def test_openvino_derains_a_file(derain: Derain, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    clip = make_clip(tmp_path / "rainy.mp4", frames=4)
    done = derain("run", clip, "dry.mp4", "--model", "stream-nano", "--runtime", "openvino", "--json", timeout=100)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["runtime"], told["frames_out"], told["warnings"]) == ("openvino", 4, [])
    assert len(facts(tmp_path / "dry.mp4").pts) == 4


def test_auto_says_what_it_lacked(derain: Derain, tmp_path: Path, without: dict[str, str]) -> None:
    clip = make_clip(tmp_path / "rainy.mp4", frames=2)
    done = derain("run", clip, "dry.mp4", "--model", "stream-nano", timeout=100, **without)
    assert done.returncode == 0, done.stderr
    assert " on eager" in done.stderr
    (note,) = [line for line in done.stderr.splitlines() if "note" in line]
    assert "pip install 'derain[openvino]'" in note


def test_a_runtime_asked_for_by_name_is_not_replaced(derain: Derain, tmp_path: Path, without: dict[str, str]) -> None:
    clip = make_clip(tmp_path / "rainy.mp4", frames=2)
    done = derain("run", clip, "dry.mp4", "--model", "stream-nano", "--runtime", "openvino", timeout=100, **without)
    assert done.returncode == 1
    assert done.stderr.strip().count("\n") == 0
    assert "pip install 'derain[openvino]'" in done.stderr
    assert not (tmp_path / "dry.mp4").exists()
