"""A file that ends too early: refused as it is, taken as far as it goes when asked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.clips import make_clip
from tests.facts import facts


def derain(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", "run", *map(str, args), "--model", "identity", "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=90)


def test_a_truncated_file_is_refused_and_with_partial_taken_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mkv", frames=40, width=160, height=120)
    cut, out = tmp_path / "cut.mkv", tmp_path / "out.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])

    refused = derain(cut, out)
    assert refused.returncode == 1
    assert len(refused.stderr.strip().splitlines()) == 1
    told = json.loads(refused.stdout)
    assert told["status"] == "failed"
    assert str(cut) in told["error"]
    assert f"derain: {told['error']}" == refused.stderr.strip()
    assert not out.exists()

    taken = derain(cut, out, "--partial")
    assert taken.returncode == 0, taken.stderr
    told = json.loads(taken.stdout)
    assert 0 < told["frames_out"] < 39
    assert told["warnings"] == [
        f"{cut}: announces 40 frames, of which only {told['frames_out']} are there; the rest is cut off or damaged"
    ]
    assert f"derain: note: {told['warnings'][0]}" in taken.stderr
    assert told["frames_in"] == told["frames_out"] == len(facts(out).pts)
    assert facts(out).pts == facts(whole).pts[: told["frames_out"]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.mkv", "out.mkv", "whole.mkv"]
