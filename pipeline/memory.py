"""`--max-memory`: what the derain stage will need, and tiles where that would be more than it may have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from esdnet import allowance
from pipeline.errors import DerainError, NoMemory
from pipeline.frame import StreamInfo

if TYPE_CHECKING:
    from esdnet import Derainer
    from esdnet.tiles import TiledDerainer

_MB = 1_000_000
_FRAMES = 10
"""Frames on their way through the stage at once: four that have come, one seen, derained and restored, and those that
are sent and not yet taken (measured at 4K: 120 MB beside the network, 12 MB a frame)."""


@dataclass(frozen=True)
class MemoryPlan:
    """How frames are cut so that they fit, and what they take."""

    megabytes: int
    """About what the derain stage will need."""
    tiles: int = 1
    tile: tuple[int, int] | None = None
    """Width and height of a tile; None: frames run whole."""

    def in_words(self) -> str:
        if self.tile is None:
            return f"about {self.megabytes:,} MB for the network"
        width, height = self.tile
        return f"about {self.megabytes:,} MB for the network, in {self.tiles} tiles of {width}x{height}"


def plan_memory(info: StreamInfo, model: str, runtime: str, max_memory: int, available: int = 0) -> MemoryPlan:
    """What the derain stage takes for a stream.

    Args:
        info: The stream.
        model: As `Derainer` takes it.
        runtime: The one that was taken.
        max_memory: Megabytes the stage may have; 0: no bound.
        available: Megabytes the machine has free, where known.

    Raises:
        DerainError: Not even the smallest tile fits into the bound.
        NoMemory: Whole frames do not fit into what the machine has free.
    """
    from esdnet.memory import memory_of
    from esdnet.tiles import LEAST, plan_tiles
    from pipeline.frame import frame_bytes

    memory = memory_of(model, runtime)
    fields = 2 if info.field_order > 1 else 1
    height, width = -(-info.height // fields), info.width
    moving = _FRAMES * frame_bytes(info.pixel_format, info.width, info.height)
    whole = -(-(memory.of(height * width, networks=fields) + moving) // _MB)
    if not max_memory:
        if available and whole > available:
            raise NoMemory(
                f"{info.width}x{info.height} frames need about {whole:,} MB, and {available:,} MB are free: "
                f"--max-memory {available * 3 // 4} runs them in tiles"
            )
        return MemoryPlan(whole)
    if whole <= max_memory:
        return MemoryPlan(whole)

    least, most = whole, height * width
    while most > LEAST * LEAST:
        most = max(most * 4 // 5, LEAST * LEAST)
        tiling = plan_tiles(height, width, most)
        tile = tiling.height * tiling.width
        megabytes = -(-(memory.of(tile * tiling.count, tile, fields) + moving) // _MB)
        if megabytes <= max_memory:
            return MemoryPlan(megabytes, tiling.count, (tiling.width, tiling.height))
        least = min(least, megabytes)  # the smallest tiles are not the thriftiest: they overlap most
    raise DerainError(
        f"--max-memory {max_memory}: {info.width}x{info.height} frames need at least {least:,} MB, even in tiles; "
        "give that much or take a smaller model"
    )


def free_megabytes() -> int:
    """What this process may still take without swapping, by its container's limit too; 0 where the system does not
    tell."""
    return allowance.memory()[1] // _MB


def bounded(network: Derainer, info: StreamInfo, max_memory: int) -> Derainer | TiledDerainer:
    """The network, in tiles where the stream's frames need them.

    Raises:
        DerainError: As `plan_memory`.
    """
    plan = plan_memory(info, network.model, network.runtime, max_memory, free_megabytes())
    if plan.tile is None:
        return network
    from esdnet.tiles import TiledDerainer

    tiled = TiledDerainer(network, plan.tile[0] * plan.tile[1])
    tiled.note = f"{info.width}x{info.height} frames took {plan.in_words()}"
    return tiled
