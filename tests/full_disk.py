"""A stream recorded on a small disk, in a namespace of its own (`unshare -rm`), where a disk may be mounted.

`python -m tests.full_disk FOLDER other` has something else fill the disk for a while; `… itself` has a ring that is too
large for it. Prints what was left, as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import DerainError
from pipeline.live.encoder import Made
from pipeline.sinks.live import LiveDestination
from pipeline.sinks.live_muxer import LiveMuxer
from tests.live_packets import packets
from tests.live_run import frames_of

SECONDS = 2
"""Of a segment, which takes about 80 kB."""


class Recording:
    """What an output does: what fails is tried again with the next keyframe."""

    def __init__(self, folder: Path, size: str, keep: int) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True)
        self.folder = folder
        to = LiveDestination(f"{folder}/c-%Y.ts", "rolling", "mpegts")
        self._to = LiveMuxer(to, stdout=-1, segment_time=SECONDS, keep=keep, overwrite=False)
        self._packets: Iterator[Made] = iter(packets(40))
        self.failed = 0

    def go_on(self, seconds: int) -> None:
        for packet in (next(self._packets) for _ in range(seconds * 10)):
            try:
                if not self._to.is_open and packet[2]:
                    self._to.open(packet[0], packet[2])
                if self._to.is_open:
                    self._to.write(*packet)
            except DerainError as error:
                if "No space left" not in str(error):
                    raise
                self._to.abandon()
                self.failed += 1

    def left(self) -> dict[str, int]:
        """Frames of the segments that are closed, or open."""
        return {path.name: frames_of(path) if path.stat().st_size else 0 for path in self.folder.glob("c-*.ts")}

    def close(self) -> None:
        self._to.abandon()


def other(folder: Path) -> dict[str, object]:
    """Something else takes all there is, and what gives way, too; then it is gone."""
    recording = Recording(folder, "400k", 3)
    recording.go_on(10)
    before = recording.left()
    with open(folder / "other", "wb", buffering=0) as filling:
        for _ in range(10):
            try:
                while filling.write(b"x" * 4096):
                    pass
            except OSError:
                recording.go_on(1)
    full, failed = recording.left(), recording.failed
    (folder / "other").unlink()
    recording.go_on(1)
    after = recording.left()
    recording.go_on(12)
    recording.close()
    return {"before": before, "full": full, "after": after, "end": recording.left(), "failed": failed}


def itself(folder: Path) -> dict[str, object]:
    """Three segments and a half fit on the disk, and nine are asked for."""
    recording = Recording(folder, "280k", 9)
    recording.go_on(40)
    recording.close()
    return {"end": recording.left(), "failed": recording.failed}


if __name__ == "__main__":
    print(json.dumps((other if sys.argv[2] == "other" else itself)(Path(sys.argv[1]))))
