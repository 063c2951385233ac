"""Damaged files: what can be decoded comes out, what is lost is told with its time, nothing hangs, crashes or stays."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import av
import pytest

from pipeline.errors import DerainError
from pipeline.sources import open_source
from tests.clips import Sound, make_clip
from tests.facts import facts
from tests.fuzz import make


def spoil(path: Path, packets: list[int], value: int = 0) -> Path:
    """Overwrite the data of some video packets, in the order they are stored."""
    with av.open(str(path)) as held:
        stored = [bytes(packet) for packet in held.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for number in packets:
        start = data.index(stored[number])
        data[start : start + len(stored[number])] = bytes([value]) * len(stored[number])
    path.write_bytes(data)
    return path


def lost(path: Path, **options: bool) -> tuple[list[tuple[str, float]], int, list[str]]:
    with open_source(str(path), **options) as source:  # type: ignore[arg-type]
        count = len(list(source))
        return [(loss.kind, loss.time) for loss in source.lost], count, source.warnings


@pytest.mark.parametrize("ending", [".mkv", ".mp4"])
def test_each_lost_frame_has_its_time(tmp_path: Path, ending: str) -> None:
    path = spoil(make_clip(tmp_path / f"a{ending}", frames=30, options={"g": "5"}), [12, 13, 27])
    found, count, warnings = lost(path)
    assert found == [("lost", 0.48), ("lost", 0.52), ("lost", 1.08)]
    assert count == 27
    assert warnings == [f"{path}: 3 frames lost at 0.480–0.520 s, 1.080 s"]


def test_a_missing_keyframe_costs_what_depends_on_it(tmp_path: Path) -> None:
    path = spoil(make_clip(tmp_path / "a.mkv", frames=30, options={"g": "10"}), [10])
    found, count, _ = lost(path)
    assert ("lost", 0.4) in found
    assert count + sum(kind == "lost" for kind, _ in found) == 30
    assert all(0.4 <= when < 0.8 for _, when in found)


@pytest.mark.parametrize("pts", [[0, 40, 80, 300, 310, 900], [0, 40, 80, 2000, 2040]], ids=["varying rate", "a pause"])
def test_a_sound_file_with_gaps_has_lost_nothing(tmp_path: Path, pts: list[int]) -> None:
    from fractions import Fraction

    path = make_clip(tmp_path / "a.mkv", pts=pts, time_base=Fraction(1, 1000))
    assert lost(path) == ([], len(pts), [])


@pytest.mark.parametrize(
    ("codec", "ending"),
    [("libx264", ".ts"), ("libvpx-vp9", ".webm"), ("mpeg4", ".avi"), ("libsvtav1", ".mp4"), ("mpeg2video", ".mpg")],
)
def test_no_codec_or_container_makes_a_sound_file_look_damaged(tmp_path: Path, codec: str, ending: str) -> None:
    path = make_clip(tmp_path / f"a{ending}", codec=codec, frames=20)
    assert lost(path) == ([], 20, [])


def test_strict_ends_at_the_first(tmp_path: Path) -> None:
    path = spoil(make_clip(tmp_path / "a.mkv", frames=30, options={"g": "5"}), [12, 27])
    with pytest.raises(DerainError, match=r"a\.mkv: 1 frame lost at 0\.480 s; without --strict") as caught:
        lost(path, strict=True)
    assert "\n" not in str(caught.value)
    sound = make_clip(tmp_path / "b.mkv")
    assert lost(sound, strict=True) == ([], 10, [])


# --- The whole command ------------------------------------------------------------------------------------------------


def derain(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", "run", *map(str, args), "--model", "identity", "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_a_damaged_file_is_done_and_says_what_is_lost_and_strict_is_one_line(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", frames=30, options={"g": "5"}, sound=[Sound(2.5)])
    spoil(path, [12])
    done = derain(path, tmp_path / "out.mkv")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["damaged"], told["lost"]) == (1, [{"time": 0.48, "kind": "lost"}])
    after = facts(tmp_path / "out.mkv")
    assert len(after.pts) == told["frames_out"] == 29
    assert after.streams[1].packets[-1][0] > 2.3  # sound longer than the video is whole
    refused = derain(path, tmp_path / "strict.mkv", "--strict")
    assert refused.returncode == 1
    assert "1 frame lost at 0.480 s" in json.loads(refused.stdout)["error"]
    assert len(refused.stderr.strip().splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mkv", "out.mkv"]


@pytest.mark.parametrize("which", [[12], list(range(10, 20))], ids=["a frame", "a part"])
def test_a_damaged_file_in_parts_is_what_it_is_in_one_piece(tmp_path: Path, which: list[int]) -> None:
    """A part of which nothing could be decoded made the whole file fail with --split; others counted frames twice."""
    (tmp_path / "in").mkdir()
    spoil(make_clip(tmp_path / "in/a.mkv", frames=30, options={"g": "10"}), which)
    command = [sys.executable, "-m", "pipeline", "batch", str(tmp_path / "in"), "--model", "identity", "--quiet"]
    told = {}
    for name, more in (("whole", []), ("parts", ["--split", "0.4"])):
        report = tmp_path / f"{name}.json"
        done = subprocess.run([*command, str(tmp_path / name), *more, "--report", str(report)], timeout=60)
        assert done.returncode == 0
        (told[name],) = json.loads(report.read_text())["files"]
    assert told["parts"]["warnings"][0].endswith("is damaged, so it was derained in one piece")
    assert told["parts"]["lost"] == told["whole"]["lost"]
    assert facts(tmp_path / "parts/a.mkv").pts == facts(tmp_path / "whole/a.mkv").pts
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["a.mkv"]


@pytest.mark.slow
def test_corrupted_files_end_well_or_with_one_clear_line(tmp_path: Path) -> None:
    """A few of those that `python -m tests.fuzz` makes; 300 were run by hand (docs/formats.md)."""
    make(tmp_path / "in", 24, seed=11)
    (tmp_path / "out").mkdir()
    command = [
        *(sys.executable, "-m", "pipeline", "batch", str(tmp_path / "in"), str(tmp_path / "out"), "--quiet"),
        *("--model", "identity", "--partial", "--retries", "0", "--container", ".mkv"),
        *("--report", str(tmp_path / "report.json")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    files = json.loads((tmp_path / "report.json").read_text())["files"]
    assert len(files) == 24
    assert "Traceback" not in done.stderr
    for one in files:
        assert one["status"] in ("done", "failed")
        if one["status"] == "failed":
            assert one["error"].startswith(one["source"]) or "is not a video" in one["error"]
            assert "\n" not in one["error"]
            assert "internal error" not in one["error"]
            assert "was killed" not in one["error"]
    assert sum(one["status"] == "done" for one in files) >= 12
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.startswith(".")]
