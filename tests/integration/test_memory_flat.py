"""Memory does not grow with the length of a video: links hold a handful of frames, whatever comes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import psutil

from tests.clips import make_clip
from tests.conftest import ROOT

FRAMES = 10_000
"""2,500 were derained in half a second by a quick machine, and there was nothing to measure."""
GROWTH = 5 << 20
"""Bytes. The pixels of the second half alone are 23 MB, so a stage that kept a quarter of them would be found out."""


def test_no_stage_grows_over_thousands_of_frames(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "long.mkv", frames=FRAMES)
    command = [sys.executable, "-m", "pipeline", "run", str(clip), "out.mkv", "--model", "identity", "--quiet"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    running = subprocess.Popen([*command, "--preset", "ultrafast"], cwd=tmp_path, env=env)
    resident: dict[str, list[int]] = defaultdict(list)
    deadline = time.monotonic() + 110
    try:
        while running.poll() is None:
            assert time.monotonic() < deadline
            for stage in psutil.Process(running.pid).children():
                try:
                    if "pipeline.stage" in (line := stage.cmdline()):  # a moment after the fork it is still the front's
                        resident[line[-1]].append(stage.memory_info().rss)
                except (psutil.Error, IndexError):  # just ended
                    continue
            time.sleep(0.02)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 0
    assert set(resident) == {"decode", "derain", "encode"}
    for stage, sizes in resident.items():
        sizes = [size for size in sizes if size]
        half, last = sizes[len(sizes) // 2 : 3 * len(sizes) // 4], sizes[3 * len(sizes) // 4 :]
        assert len(half) >= 3, "too quick to be measured"
        assert max(last) - max(half) < GROWTH, f"{stage}: {max(half) >> 20} MB, then {max(last) >> 20} MB"
