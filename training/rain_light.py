"""How rain looks before a picture: the light of its streaks, and how it and what is behind them become one.

A drop sends on light from a wide part of what surrounds it, nearly all of it from behind (Garg and Nayar, "Vision and
Rain", IJCV 2007), so its streak is as bright as its surroundings on average: bright before a dark tree under the sky,
hardly there before the sky itself. Video tools draw it so too: the rain effect of Adobe After Effects, the program in
which NTURain's rain was made (Chen et al., CVPR 2018), takes four fifths of its streaks' colour from a mean over a
window of the picture and only lightens it, unless told otherwise. `RainSettings.reflection` is that share; the rest of
the light is the same everywhere.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.rain_settings import RainSettings

Plane = NDArray[np.float32]


def apply(planes: tuple[Plane, Plane, Plane], alpha: Plane, settings: RainSettings) -> tuple[Plane, Plane, Plane]:
    """Lay rain of opacity `alpha` (H, W) over a picture, in the light and the way of blending that `settings` say.

    `planes`: Y (H, W) in 0..1, U and V ((H+1)//2, (W+1)//2) in -0.5..0.5, float32. Returns new planes;
    where `alpha` is 0 they are what they were.
    """
    luma, *chroma = planes
    tint = (settings.blueness, -settings.blueness / 2)
    light = _light(luma, settings.brightness, settings, 1)
    tints = [_light(c, own, settings, 2) for c, own in zip(chroma, tint, strict=True)]
    if settings.blend == "lighten":
        alpha = np.where(light > luma, alpha, np.float32(0))
    small = halve(alpha)
    if settings.blend != "add":
        u, v = (c + small * (t - c) for c, t in zip(chroma, tints, strict=True))
        return luma + alpha * (light - luma), u, v
    wet = luma + alpha * light
    # Light that would pass white is cut off, and with it the colour goes towards grey.
    white = np.maximum(luma, 1)
    kept = 1 - np.minimum(2 * halve(np.maximum(wet - white, 0)), 1)
    u, v = ((c + small * t) * kept for c, t in zip(chroma, tints, strict=True))
    return np.minimum(wet, white), u, v


def _light(plane: Plane, own: float, settings: RainSettings, finer: int) -> Plane | np.float32:
    """The streaks' light in one plane that is `finer` times as coarse as the picture."""
    share = settings.reflection
    if not share:
        return np.float32(own)
    width, height = (max(round(size * settings.scale / finer), 1) for size in settings.surroundings)
    mean = cv2.blur(plane, (width, height), borderType=cv2.BORDER_REFLECT)
    return np.asarray(share * mean + (1 - share) * own, np.float32)


def halve(plane: Plane) -> Plane:
    """Means of 2×2 pixels, (H, W) to ((H+1)//2, (W+1)//2): luma to chroma size. Odd edges are repeated."""
    height, width = plane.shape
    if height % 2 or width % 2:
        plane = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")
    return np.asarray(
        (plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]) * np.float32(0.25), np.float32
    )
