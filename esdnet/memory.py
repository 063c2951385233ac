"""How much memory a network takes for a frame, known before it is run.

The state is counted exactly. What a step needs beside it was measured as the process's peak (benchmarks/memory.py): at
640×360, 1280×720 and 1920×1080 it is in proportion to the pixels, and between the streaming networks to the state.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from esdnet.models import load
from esdnet.streaming import StreamNet

_MIB = 1 << 20


@dataclass(frozen=True)
class _Measured:
    """Peak of a process: `base` bytes, and a pixel `fixed` + `per_state` × the bytes of its state."""

    base: int
    fixed: float
    per_state: float
    tiled: float = 0.0  # by which share a step takes more in tiles: frame after frame the heap has more holes


# Most beyond the base, with 59 (stream-nano) and 184 bytes of state a pixel: on eager 466 and 936 bytes a pixel (172 of
# them state then); on openvino 512 and 1,438, to 3840×2160, while it makes a graph (one from the disk takes two thirds)
_EAGER = _Measured(350 * _MIB, 160, 4.8, 0.3)  # the network alone 252 MB; cv2 and av beside it 296
_OPENVINO = _Measured(640 * _MIB, 75, 7.4)  # its compiler and, for two threads and more, a second graph are in the base
_RUNTIMES = {"eager": _EAGER, "openvino": _OPENVINO, "openvino_bf16": _OPENVINO}
_MARGIN = 1.05
_PUT_TOGETHER = 18  # bytes a pixel with which tiles are weighted and added up: 1.5 samples of three float32
_PICTURE_PER_CHANNEL = 360  # bytes a pixel and channel of the first level, of the paper's network at T = 4 on eager


@dataclass(frozen=True)
class Memory:
    """Bytes for one process that runs one network."""

    base: int  # interpreter, libraries, weights
    step: float  # a pixel of what is derained at once
    state: float  # a pixel of all that is remembered
    tiled: float = 0.0  # by which share a step takes more in tiles

    def of(self, pixels: int, tile: int = 0, networks: int = 1) -> int:
        """For frames of so many pixels, in tiles of so many (0: whole), by so many networks in turn (two for fields).

        `pixels` counts the tiles' overlaps too. An estimate, on the safe side by about 5 % where it was measured.
        """
        step = (_MARGIN + (self.tiled if tile else 0)) * self.step * (tile or pixels)
        return round(self.base + (step + self.state * pixels) * networks + (_PUT_TOGETHER * pixels if tile else 0))


@lru_cache(maxsize=16)  # the weights are read for it, which would cost more than the frames of a short file
def memory_of(model: str, runtime: str) -> Memory:
    """What a model takes on a runtime; on one that was not measured, what it would on eager. ModelError as `load`."""
    network = load(model)
    known = _RUNTIMES.get(runtime, _EAGER)
    if not isinstance(network, StreamNet):
        width = next(network.parameters()).shape[0]
        return Memory(known.base, _PICTURE_PER_CHANNEL * width, 0.0)
    side = 64  # of the packed picture, which is half of the frame's
    state = sum(tensor.numel() for tensor in network.initial_state(1, side, side).tensors()) * 4 / (2 * side) ** 2
    return Memory(known.base, known.fixed + (known.per_state - 1) * state, state, known.tiled)
