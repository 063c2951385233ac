"""Stages on several hosts as processes: what the tests of `derain stage` share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

import av

from tests.conftest import ROOT

WAIT = 90.0


class Stages:
    """Processes of `derain`, each ended at the end whatever happens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *args: str | Path, inside: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "pipeline", *map(str, args)]
        if inside:
            command = ["ip", "netns", "exec", inside, *command]
        log = open(self.folder / f"log-{len(self.running)}", "w")  # noqa: SIM115
        env = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        process = subprocess.Popen(
            command, cwd=self.folder, env=env, text=True, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL
        )
        log.close()
        self.running.append(process)
        return process

    def said(self, process: subprocess.Popen[str]) -> str:
        return (self.folder / f"log-{self.running.index(process)}").read_text()

    def hear(self, process: subprocess.Popen[str], text: str, times: int = 1) -> str:
        deadline = time.monotonic() + WAIT
        while (said := self.said(process)).count(text) < times:
            assert time.monotonic() < deadline and process.poll() is None, f"never said {text!r}: {said}"
            time.sleep(0.05)
        return said

    def result(self, process: subprocess.Popen[str]) -> dict[str, object]:
        out, _ = process.communicate(timeout=WAIT)
        assert process.returncode == 0, self.said(process)
        found: dict[str, object] = json.loads(out.splitlines()[-1])
        return found


@contextmanager
def stages_in(folder: Path) -> Iterator[Stages]:
    """Stages with their logs in this folder; none is left at the end."""
    made = Stages(folder)
    try:
        yield made
    finally:
        for process in made.running:
            if process.poll() is None:
                process.kill()
            process.communicate()


@contextmanager
def host_address() -> Iterator[str]:
    """An ipc address in a folder that is only ours, as a derain stage wants it."""
    folder = tempfile.mkdtemp()
    yield f"ipc://{folder}/derain"
    rmtree(folder)


def pictures(path: Path) -> list[tuple[int | None, bytes]]:
    """pts and samples of every frame."""
    with av.open(str(path)) as container:
        return [(f.pts, f.to_ndarray(format="yuv420p").tobytes()) for f in container.decode(video=0)]
