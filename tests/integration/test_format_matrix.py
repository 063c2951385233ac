"""The public matrix of formats through `derain batch`: made by the ffmpeg command, read by ffprobe, nothing lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.batch_worker import carried_out
from pipeline.job import Job
from pipeline.sinks.options import EncodeOptions
from tests.format_clips import CASES, Case, make, probed

pytestmark = [
    pytest.mark.skipif(not shutil.which("ffprobe"), reason="no ffmpeg and ffprobe here (Debian: apt install ffmpeg)"),
    pytest.mark.slow,
]
_NAMES = [case.name for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=_NAMES)
def test_every_property_is_kept(tmp_path: Path, case: Case) -> None:
    """Carried out as a worker of a batch does it, without starting one for each codec."""
    source = make(case, tmp_path)
    made = tmp_path / f"made{case.result or source.suffix}"
    encode = EncodeOptions(codec=case.codec, preset="veryfast" if case.codec == "libx264" else None)
    result = carried_out(Job(source=str(source), destination=str(made), model="identity", threads=1, encode=encode))
    assert result.status == "done", result.error
    before, after = probed(source), probed(made)
    assert {key: after[key] for key in before} == before


def test_a_network_in_between_changes_no_property(tmp_path: Path) -> None:
    """Depth, fields, times and streams go round the network, which sees 8 bits of a picture."""
    names = ("hlg.mkv", "interlaced.mp4", "variable-rate.mp4", "many-tracks.mkv")
    (tmp_path / "in").mkdir()
    for case in CASES:
        if case.name in names:
            make(case, tmp_path / "in")
    command = [sys.executable, "-m", "pipeline", "batch", *(str(tmp_path / "in" / name) for name in names)]
    network = ["--model", "stream-nano", "--runtime", "eager", "--threads", "1"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [*command, str(tmp_path / "out"), *network], env=environment, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    for name in names:
        assert probed(tmp_path / "out" / name) == probed(tmp_path / "in" / name)
