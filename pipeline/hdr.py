"""High dynamic range: the static metadata that files hold, and the curve by which the network is shown such video.

The metadata are SMPTE ST 2086 (mastering display) and CTA-861.3 (light levels), as FFmpeg keeps them in
AVMasteringDisplayMetadata and AVContentLightMetadata, and as encoders take them.

The network has learnt from standard dynamic range. A PQ signal shown to it as it is would look grey and dark, and what
it then removes would not be the rain. So it is shown `tone_curve(trc)` of the luma: up to reference white (203 cd/m²,
ITU-R BT.2408) what a gamma-2.4 display would be sent for that light, above it the rest of the range on a straight
line. The curve rises everywhere, so what was removed can be taken from the source's own samples through its inverse:
where nothing was removed nothing changes, bit for bit.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

    import av

PQ, HLG = 16, 18
"""AVCOL_TRC_SMPTE2084 and AVCOL_TRC_ARIB_STD_B67."""

REFERENCE_WHITE = 203.0
"""cd/m² of a white sheet of paper in PQ (ITU-R BT.2408); HLG has it at 0.75 of its signal."""
_WHITE_SHOWN = 0.85
"""Where reference white comes to lie in what the network sees: highlights need the rest."""
_STEPS = 4096


def mastering_display(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """Red, green, blue and white point x and y, then least and most light: ten numerators and denominators in turn."""
    data = _side_data(frame, "MASTERING_DISPLAY_METADATA")
    if data is None or len(data) < 88:
        return None
    numbers = np.frombuffer(data, np.int32)[:22]
    has_primaries, has_light = numbers[20:]
    return tuple(int(n) for n in numbers[:20]) if has_primaries and has_light and (numbers[1:20:2] > 0).all() else None


def content_light(frame: av.VideoFrame) -> tuple[int, int] | None:
    """MaxCLL and MaxFALL, cd/m²."""
    data = _side_data(frame, "CONTENT_LIGHT_LEVEL")
    if data is None or len(data) < 8:
        return None
    most, average = np.frombuffer(data, np.uint32)[:2]
    return int(most), int(average)


def _side_data(frame: av.VideoFrame, kind: str) -> bytes | None:
    try:
        held = cast("Mapping[str, Any]", frame.side_data)  # PyAV's stub knows motion vectors only
        return bytes(held[kind])
    except (KeyError, ValueError):
        return None


def encoder_parameters(codec: str, display: tuple[int, ...] | None, light: tuple[int, int] | None) -> dict[str, str]:
    """The metadata as an encoder takes them, by name of the parameter; empty where it takes none.

    x264 and x265 count chromaticities in 1/50,000 and light in 1/10,000 cd/m², SVT-AV1 takes decimals.
    """
    found: dict[str, str] = {}
    if codec in ("libx264", "libx265"):
        if display:
            r, g, b, white, light_range = _in_units(display, 50_000, 10_000)
            found["mastering-display" if codec == "libx264" else "master-display"] = (
                f"G({g[0]},{g[1]})B({b[0]},{b[1]})R({r[0]},{r[1]})WP({white[0]},{white[1]})"
                f"L({light_range[1]},{light_range[0]})"
            )
        if light:
            found["cll" if codec == "libx264" else "max-cll"] = f"{light[0]},{light[1]}"
    if codec == "libsvtav1":
        if display:
            v = [n / d for n, d in zip(display[::2], display[1::2], strict=True)]
            found["mastering-display"] = (
                f"G({v[2]:.4f},{v[3]:.4f})B({v[4]:.4f},{v[5]:.4f})R({v[0]:.4f},{v[1]:.4f})"
                f"WP({v[6]:.4f},{v[7]:.4f})L({v[9]:.4f},{v[8]:.4f})"
            )
        if light:
            found["content-light"] = f"{light[0]},{light[1]}"
    return found


def _in_units(display: tuple[int, ...], place: int, light: int) -> list[tuple[int, int]]:
    units = [place] * 8 + [light] * 2
    whole = [round(n * u / d) for n, d, u in zip(display[::2], display[1::2], units, strict=True)]
    return list(zip(whole[::2], whole[1::2], strict=True))


def is_hdr(trc: int) -> bool:
    """Whether a transfer characteristic needs `tone_curve`."""
    return trc in (PQ, HLG)


@lru_cache(maxsize=4)
def tone_curve(trc: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Signal and what the network sees for it, both 0..1, rising, as points to interpolate between."""
    signal = np.linspace(0.0, 1.0, _STEPS)
    if trc == PQ:
        white = _pq_signal(REFERENCE_WHITE)
        below = _WHITE_SHOWN * (_pq_light(signal) / REFERENCE_WHITE) ** (1 / 2.4)
    else:
        white = 0.75
        below = _WHITE_SHOWN * signal / white
    above = _WHITE_SHOWN + (1 - _WHITE_SHOWN) * (signal - white) / (1 - white)
    seen = np.where(signal < white, below, above)
    return signal.astype(np.float32), seen.astype(np.float32)


def _pq_light(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """cd/m² of a PQ signal (SMPTE ST 2084)."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = signal ** (1 / m2)
    return np.asarray(10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1))


def _pq_signal(light: float) -> float:
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = (light / 10_000) ** m1
    return float(((c1 + c2 * power) / (1 + c3 * power)) ** m2)
