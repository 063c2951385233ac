"""`make demo`, short: the videos are there, whole, and the rain is gone by 3 dB or more."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.sources import open_source

ROOT = Path(__file__).parents[2]
FRAMES = 12


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_demo_takes_the_rain_out(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py", tmp_path / "demo", "--frames", str(FRAMES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    told = re.search(r"PSNR on luma: rainy ([\d.]+) dB, derained ([\d.]+) dB", done.stdout)
    assert told, done.stdout
    before, after = map(float, told.groups())
    assert 20 < before < 32
    assert after - before >= 3
    for name, width in {"clean": 640, "rainy": 640, "derained": 640, "before_after": 1280}.items():
        with open_source(str(tmp_path / "demo" / f"{name}.mp4")) as source:
            assert (source.info.width, source.info.height) == (width, 360)
            assert sum(1 for _ in source) == FRAMES
