"""Corrupted video files, made from whole ones by a seed: `python -m tests.fuzz FOLDER COUNT [SEED]`.

By hand: 300 of them through `derain batch FOLDER OUT --model identity --partial --report r.json`; the suite takes 24.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext

from tests.clips import B_FRAMES, Sound, make_clip
from tests.deep_clips import make_deep_clip

_WHOLE = (
    ("mp4", {"options": B_FRAMES, "sound": [Sound(1.0)]}),
    ("mkv", {"codec": "libx265", "sound": [Sound(1.0, codec="ac3")], "subtitles": [(0.1, 0.5, "It rains")]}),
    ("ts", {"sound": [Sound(1.0)], "options": {"g": "8"}}),
    ("avi", {"codec": "mpeg4"}),
    ("webm", {"codec": "libvpx-vp9"}),
    ("mpg", {"codec": "mpeg2video", "options": {"g": "6"}}),
)
_ENDINGS = (*(ending for ending, _ in _WHOLE), "mov")
_NOISE = ("mp4", "mkv", "ts")


def _bits(data: bytearray, rng: np.random.Generator) -> None:
    for at in rng.integers(0, len(data), rng.integers(1, 60)):
        data[at] ^= 1 << int(rng.integers(0, 8))


def _cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[int(rng.integers(1, len(data))) :]


def _zeros(data: bytearray, rng: np.random.Generator) -> None:
    start, size = int(rng.integers(0, len(data))), int(rng.integers(16, 4000))
    data[start : start + size] = bytes(len(data[start : start + size]))


def _rubbish(data: bytearray, rng: np.random.Generator) -> None:
    start, size = int(rng.integers(0, len(data))), int(rng.integers(16, 2000))
    data[start : start + size] = rng.bytes(len(data[start : start + size]))


def _missing(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(0, len(data)))
    del data[start : start + int(rng.integers(1, 3000))]


def _twice(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(0, len(data)))
    data[start:start] = data[start : start + int(rng.integers(1, 3000))]


def _head(data: bytearray, rng: np.random.Generator) -> None:
    for at in rng.integers(0, min(len(data), 600), rng.integers(1, 30)):
        data[at] = int(rng.integers(0, 256))


_DAMAGE: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (
    *(_bits, _cut, _zeros, _rubbish, _missing, _twice, _head),
)


def _noisy(whole: Path, path: Path, rng: np.random.Generator) -> None:
    """The packets spoilt, not the container, by FFmpeg's own noise filter; some dropped, some emptied."""
    amount = int(rng.integers(20, 2000))
    with av.open(str(whole)) as held, av.open(str(path), "w") as out:
        streams = {s.index: out.add_stream_from_template(s, opaque=True) for s in held.streams if s.type != "data"}
        which = f"eq(mod(n,{rng.integers(3, 20)}),1)"
        spoil = BitStreamFilterContext(f"noise=amount={amount}:drop='{which}'", held.streams[0])
        for packet in held.demux():
            if packet.dts is None or packet.stream_index not in streams:
                continue
            for one in spoil.filter(packet) if packet.stream_index == 0 else [packet]:
                one.stream = streams[packet.stream_index]
                out.mux(one)


def make(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """So many files, the same for the same seed."""
    rng = np.random.default_rng(seed)
    whole_folder = folder.parent / f"{folder.name}-whole"
    for place in (folder, whole_folder):
        place.mkdir(parents=True, exist_ok=True)
    whole = {
        ending: make_clip(whole_folder / f"whole.{ending}", frames=25, width=128, height=96, **made)  # type: ignore[arg-type]
        for ending, made in _WHOLE
    }
    whole["mov"] = make_deep_clip(
        whole_folder / "whole.mov", "yuv422p10le", frames=10, width=128, height=96, codec="prores_ks"
    )
    made = []
    for number in range(count):
        ending = _ENDINGS[number % len(_ENDINGS)]
        which = number // len(_ENDINGS) % (len(_DAMAGE) + 1)
        if which == len(_DAMAGE) and ending in _NOISE:
            path = folder / f"{number:04d}-noise.{ending}"
            _noisy(whole[ending], path, rng)
        else:
            damage = _DAMAGE[which % len(_DAMAGE)]
            data = bytearray(whole[ending].read_bytes())
            damage(data, rng)
            path = folder / f"{number:04d}-{damage.__name__.strip('_')}.{ending}"
            path.write_bytes(data)
        made.append(path)
    return made


if __name__ == "__main__":
    for one in make(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0):
        print(one)
