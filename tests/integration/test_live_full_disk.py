"""Recordings and HLS on a disk that is full, which is a small one in a namespace of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.live_run import frames_of

_MAY_MOUNT = (
    sys.platform == "linux"
    and subprocess.run(
        ["sh", "-c", "unshare -rm sh -c 'mount -t tmpfs -o size=64k none /mnt'"], capture_output=True
    ).returncode
    == 0
)
pytestmark = pytest.mark.skipif(not _MAY_MOUNT, reason="no disk may be mounted here, not even for oneself")


def recorded(folder: Path, how: str) -> dict[str, Any]:
    command = ["unshare", "-rm", sys.executable, "-m", "tests.full_disk", str(folder), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_what_was_recorded_outlives_a_full_disk(tmp_path: Path) -> None:
    """Each attempt left an empty file, and once there was room again, all real recordings were removed for the empty
    ones. Now one gives way, which does not help; the others stay, and when there is room the ring goes on."""
    told = recorded(tmp_path, "other")
    assert told["failed"] > 4
    whole = [name for name, frames in told["before"].items() if frames == 20]
    assert len(set(whole) & set(told["full"])) >= len(whole) - 2
    assert all(told["full"].values()) and len(told["full"]) <= 4
    assert set(told["full"]) <= set(told["after"])
    assert sorted(told["end"].values())[-2:] == [20, 20] and len(told["end"]) == 3


def test_a_ring_that_is_too_large_for_its_disk_goes_round(tmp_path: Path) -> None:
    """It stood still when it had filled the disk, for ever. The oldest gives way in time, so that no frame is lost."""
    told = recorded(tmp_path, "itself")
    assert told == {"end": dict.fromkeys(told["end"], 20), "failed": 0}
    assert len(told["end"]) == 3


def test_hls_outlives_a_full_disk(tmp_path: Path) -> None:
    """FFmpeg's muxer goes on over errors of its own files: the playlist ended empty and the segments cut off, and the
    run told that all was well. What fits stays and can be played; the rest is counted."""
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    script = f"""
        mount -t tmpfs -o size=400k none {disk}
        {sys.executable} -m pipeline run lavfi:testsrc2=size=320x180:rate=10 {disk}/h.m3u8 --model identity --crf 5 \\
            --preset ultrafast --duration 14 --json
        code=$?
        cp -r {disk} {kept}
        exit $code"""
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, timeout=100, check=False
    )
    told = json.loads(done.stdout)
    assert done.returncode == 1 and "No space left on device" in told["error"], done.stderr
    assert told["destinations"][f"{disk}/h.m3u8"].startswith("failed: ")
    segments = [line for line in (kept / "h.m3u8").read_text().splitlines() if line.endswith(".ts")]
    assert segments and sorted(path.name for path in kept.iterdir()) == [*segments, "h.m3u8"]
    played = sum(frames_of(kept / name) for name in segments)
    assert played == told["frames_out"] - told["sink_dropped"][f"{disk}/h.m3u8"] > 0
