"""Pixel formats that frames are carried in, by FFmpeg's names: which planes they have and how large those are.

Whatever a source holds is carried sample for sample where it is planar YUV, planar RGB or grey of 8 to 16 bits, with or
without alpha; packed RGB is how pictures travel. Knows no library, so that every stage may ask.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["yuv", "rgb", "gray"]

_CHROMA = {"420": (1, 1), "422": (1, 0), "444": (0, 0), "440": (0, 1), "411": (2, 0), "410": (2, 2)}
_DEPTHS = (8, 9, 10, 12, 14, 16)
_NAME = re.compile(
    r"(?P<yuv>yuva?)(?P<chroma>4\d\d)p(?:(?P<a>\d+)le)?"
    r"|(?P<gbr>gbra?p)(?:(?P<b>\d+)le)?"
    r"|(?P<gray>gray)(?:(?P<c>\d+)le)?"
    r"|(?P<packed>rgb24|rgba|rgb48le|rgba64le)"
)


@dataclass(frozen=True)
class PixelFormat:
    """How the samples of one format lie. Planar ones in FFmpeg's order: Y U V A, or G B R A."""

    name: str
    kind: Kind
    bits: int  # of a sample; those above 8 take two bytes, little-endian
    shift: tuple[int, int] = (0, 0)  # chroma is 2**shift smaller, across and down
    alpha: bool = False
    packed: bool = False  # one plane (H, W, 3 or 4) in the order R G B A

    @property
    def itemsize(self) -> int:
        """Bytes of a sample."""
        return 1 if self.bits == 8 else 2

    @property
    def dtype(self) -> np.dtype[Any]:
        import numpy as np

        return np.dtype(np.uint8) if self.bits == 8 else np.dtype("<u2")

    @property
    def highest(self) -> int:
        """The largest value of a sample."""
        return (1 << self.bits) - 1

    def shapes(self, width: int, height: int) -> list[tuple[int, ...]]:
        """Of the planes; chroma of odd sizes is rounded up."""
        if self.packed:
            return [(height, width, 4 if self.alpha else 3)]
        full = (height, width)
        small = (-(-height // (1 << self.shift[1])), -(-width // (1 << self.shift[0])))
        colours = {"gray": [full], "yuv": [full, small, small], "rgb": [full, full, full]}[self.kind]
        return [*colours, *([full] if self.alpha else [])]


@lru_cache
def pixel_format(name: str) -> PixelFormat:
    """The format called `name`. ValueError for one that frames are not carried in."""
    match = _NAME.fullmatch(name)
    bits = int(match["a"] or match["b"] or match["c"] or 8) if match else 0
    chroma = _CHROMA.get(match["chroma"] or "444") if match else None
    if not match or bits not in _DEPTHS or chroma is None:
        raise ValueError(f"pixel format {name!r} is not one that frames are carried in")
    if match["packed"]:
        return PixelFormat(name, "rgb", 16 if "le" in name else 8, alpha="rgba" in name, packed=True)
    if match["gray"]:
        return PixelFormat(name, "gray", bits)
    if match["gbr"]:
        return PixelFormat(name, "rgb", bits, alpha=match["gbr"] == "gbrap")
    return PixelFormat(name, "yuv", bits, chroma, alpha=match["yuv"] == "yuva")


def is_carried(name: str) -> bool:
    """Whether frames may travel in this format."""
    try:
        pixel_format(name)
    except ValueError:
        return False
    return True
