"""A decoder that hangs ends its process with a word, one that is only waited for does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import DerainError
from pipeline.sources import open_source

_HUNG = """
import time
from pipeline.hang import HangWatch
def frames():
    yield 1
    time.sleep(100)
with HangWatch("a.mkv: the decoder has hung", 0.5) as watch:
    for frame in watch.each(frames()):
        pass
"""


def test_a_step_that_takes_too_long_ends_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", _HUNG], capture_output=True, text=True, timeout=60)
    assert done.returncode == 70
    assert done.stderr.strip().splitlines()[-1].startswith("a.mkv: the decoder has hung for")


_SLOW = """
import time
from pipeline.hang import HangWatch
with HangWatch("never", 3) as watch:
    for item in watch.each(iter([1])):
        time.sleep(4)  # what is done with an item may take its time
    with watch.step():
        for _ in range(8):
            time.sleep(0.5)
            watch.beat()  # and so may a step that gets on
time.sleep(1)
print("done")
"""


def test_what_gets_on_is_no_hang() -> None:
    done = subprocess.run([sys.executable, "-c", _SLOW], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_pipe_is_no_file_to_wait_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(DerainError, match=r"a\.mp4: is no file but a pipe"):
        open_source(str(tmp_path / "a.mp4"))
