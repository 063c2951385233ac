"""Frames as a viewer sees them, for the network's eyes only.

A telephone held upright stores its frames lying on their side, and says in the display matrix how a player must turn
them. In the stored frames rain falls sideways, which networks hardly ever see in training: on
`shared/data/dev/real_clips/yard.mp4` `stream` took 2 % of the bright transients from the frames as they are stored and
74 % from the same frames turned (docs/experiments/kinds-of-rain.md). So frames are turned for the step and back after
it; what is written has the orientation of the source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.frame import StreamInfo

Planes = list[NDArray[Any]]
Network = Callable[[Any, bool], Any]


def quarter_turns(info: StreamInfo) -> int:
    """By how many quarters, counter-clockwise, a player turns the stored frames: 0 to 3."""
    return round(info.rotation / 90) % 4


def turned(planes: Sequence[NDArray[Any]], quarters: int) -> Planes:
    """Planes (H, W) or (H, W, 3) turned counter-clockwise; the same arrays for 0 quarters, else C-contiguous copies."""
    if quarters % 4 == 0:
        return list(planes)
    return [np.ascontiguousarray(np.rot90(plane, quarters)) for plane in planes]


def derained_upright(network: Network, planes: Sequence[NDArray[Any]], full_range: bool, quarters: int) -> Planes:
    """What `network` makes of the planes turned upright, turned back.

    Args:
        network: As `esdnet.Derainer`: takes Y, U, V, or the one plane of a grey or RGB picture.
        planes: uint8, as they are stored.
        full_range: How to read YUV.
        quarters: As `quarter_turns`.
    """
    seen = turned(planes, quarters)
    out = network(seen if len(seen) == 3 else seen[0], full_range)
    return turned([out] if isinstance(out, np.ndarray) else list(out), -quarters)
