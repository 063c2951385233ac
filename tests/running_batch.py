"""Batches in the background."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.conftest import ROOT


class Running:
    """A batch in the background."""

    def __init__(self, folder: Path, *args: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "batch", *args],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )

    def workers(self) -> list[psutil.Process]:
        try:
            return [p for p in psutil.Process(self.process.pid).children() if "pipeline.batch_worker" in p.cmdline()]
        except psutil.Error:
            return []

    def wait_for(self, path: Path | None = None, pattern: str = "") -> None:
        deadline = time.monotonic() + 60
        while not (path.exists() if path and not pattern else list((path or Path()).rglob(pattern))):
            assert time.monotonic() < deadline, "waited in vain"
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.01)


@contextmanager
def batches() -> Iterator[list[Running]]:
    """Those put into the list are ended."""
    started: list[Running] = []
    yield started
    for one in started:
        one.process.kill()
        one.process.communicate()
