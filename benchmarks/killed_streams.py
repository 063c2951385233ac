"""kill -9 of each process under `derain serve` in turn: how soon its stream is back, and what the others lost.

    python benchmarks/killed_streams.py --streams 4 --size 160x96 --rate 10 --model stream-nano --rounds 3

Streams are FFmpeg's test picture, each recorded. A stream is back when the service tells that frames of after the death
were written; it hears of frames twice a second, so half a second of each figure is that.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

import psutil
import yaml

VICTIMS = ("decode", "derain", "encode", "output", "front", "nursery of the stream", "nursery of the service")
PATIENCE = 120.0


class Service:
    """A running `derain serve`."""

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        self.names = [f"s{number}" for number in range(given.streams)]
        source = f"lavfi:testsrc2=size={given.size}:rate={given.rate}"
        streams = [
            {"id": name, "source": source, "destinations": [f"{folder}/{name}-%Y%m%d-%H%M%S.mkv"], "audio": False}
            for name in self.names
        ]
        settings = {"model": given.model, "threads": 1, "preset": "ultrafast", "preview": False}
        content = {
            "listen": {"port": 0},
            "restart": {"limit": 0, "longest_delay": 0.2},  # each of them is an accident, no series
            "defaults": settings,
            "streams": streams,
        }
        (folder / "live.yaml").write_text(yaml.safe_dump(content))
        log = folder / "log"
        with open(log, "w") as out:
            command = [sys.executable, "-m", "pipeline", "serve", str(folder / "live.yaml")]
            self.process = subprocess.Popen(command, stderr=out)
        until(lambda: "http://" in log.read_text())
        self.url = log.read_text().partition("http://")[2].split("/")[0]

    def streams(self) -> dict[str, Any]:
        with urlopen(f"http://{self.url}/api/streams", timeout=PATIENCE) as answer:
            return {stream["id"]: stream for stream in json.load(answer)["streams"]}

    def victim(self, what: str, name: str) -> psutil.Process:
        if what == "nursery of the service":
            parent = self.process.pid
        else:
            parent = self.streams()[name]["pid"]
            if what == "front":
                return psutil.Process(parent)
        word = "nursery_process" if "nursery" in what else what
        return next(p for p in psutil.Process(parent).children() if any(word in part for part in p.cmdline()))


def until(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := true()):
        if time.monotonic() > deadline:
            sys.exit("waited in vain")
        time.sleep(0.1)  # each look costs the service some milliseconds of the core that is measured
    return found


def deaths(stream: Any) -> int:
    return int(stream["restarts"]) + sum(stream["stage_restarts"].values())


def kill(service: Service, what: str, name: str) -> tuple[float, int]:
    """Seconds until frames came again; frames that the others lost."""
    victim = service.victim(what, name)
    before = service.streams()
    began = time.monotonic()
    os.kill(victim.pid, signal.SIGKILL)
    if "nursery" in what:
        time.sleep(1.0)
    else:
        until(lambda: deaths(service.streams()[name]) > deaths(before[name]))
    written = service.streams()[name]["frames"]["frames_out"]
    until(lambda: (s := service.streams()[name])["frames"]["frames_out"] > written and s["state"] == "running")
    took = time.monotonic() - began
    time.sleep(5.0)
    lost = 0
    for other, stream in service.streams().items():
        if other != name:
            lost += sum(stream["dropped"].values()) - sum(before[other]["dropped"].values())
            if deaths(stream) != deaths(before[other]) or stream["reconnects"] != before[other]["reconnects"]:
                sys.exit(f"{other} was touched: {stream}")
    return took, lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--size", default="160x96")
    parser.add_argument("--rate", type=int, default=10)
    parser.add_argument("--model", default="stream-nano")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=VICTIMS)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        service = Service(Path(folder), given)
        try:
            began = time.monotonic()
            until(lambda: all(s["frames"]["frames_out"] > 10 for s in service.streams().values()))
            print(f"all streams: frames after {time.monotonic() - began:.1f} s")
            time.sleep(10.0)
            idle = sum(sum(stream["dropped"].values()) for stream in service.streams().values())
            time.sleep(10.0)
            idle = sum(sum(stream["dropped"].values()) for stream in service.streams().values()) - idle
            print(f"dropped within 10 s of nothing: {idle}")
            for what in given.victims:
                results = [kill(service, what, service.names[n % len(service.names)]) for n in range(given.rounds)]
                times = ", ".join(f"{took:.1f}" for took, _ in results)
                print(f"{what}: back after {times} s; lost by the others: {sum(lost for _, lost in results)}")
        finally:
            service.process.terminate()
            service.process.wait()


if __name__ == "__main__":
    main()
