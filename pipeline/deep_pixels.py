"""Frames of more than 8 bits as 16-bit pictures: white is 65,535, where swscale would have it at 65,280."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.colour import is_full_range
from pipeline.formats import PixelFormat, pixel_format
from pipeline.frame import Frame, StreamInfo

_LUMA = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087)}
_LUMA |= {9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
"""AVCOL_SPC_* -> the shares of red and blue in luma (ITU-T H.273)."""


def deep_picture(frame: Frame, info: StreamInfo) -> NDArray[np.uint16]:
    """(H, W) grey, (H, W, 3) RGB or (H, W, 4) with alpha, in full range of 16 bits, of a planar frame.

    A stream that does not tell its matrix is taken as BT.709 from 720 lines up and as BT.601 below, as players do.
    """
    form = pixel_format(frame.header.pixel_format)
    planes = frame.planes()
    full = form.kind == "rgb" or is_full_range(info)
    if form.kind == "rgb":
        colours = [_level(planes[n], form, True) for n in (2, 0, 1)]
    elif form.kind == "gray":
        colours = [_level(planes[0], form, full)]
    else:
        matrix = _LUMA.get(info.colorspace, _LUMA[1 if frame.header.height >= 720 else 6])
        colours = _rgb(_level(planes[0], form, full), [_chroma(p, form, full) for p in planes[1:3]], matrix)
    if form.alpha:
        colours.append(_level(planes[-1], form, True))
    whole = [np.clip(np.rint(colour * 65535), 0, 65535).astype("<u2") for colour in colours]
    return whole[0] if len(whole) == 1 else np.dstack(whole)


def _level(plane: NDArray[Any], form: PixelFormat, full: bool) -> NDArray[np.float32]:
    """0 black to 1 white."""
    black, way = (0, form.highest) if full else (16 << (form.bits - 8), 219 << (form.bits - 8))
    return (plane.astype(np.float32) - np.float32(black)) / np.float32(way)


def _chroma(plane: NDArray[Any], form: PixelFormat, full: bool) -> NDArray[np.float32]:
    """−0.5 to 0.5."""
    way = form.highest if full else 224 << (form.bits - 8)
    return (plane.astype(np.float32) - np.float32(1 << (form.bits - 1))) / np.float32(way)


def _rgb(
    luma: NDArray[np.float32], chroma: list[NDArray[np.float32]], shares: tuple[float, float]
) -> list[NDArray[np.float32]]:
    import cv2

    size = (luma.shape[1], luma.shape[0])
    blue_less, red_less = (
        plane if plane.shape == luma.shape else np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR))
        for plane in chroma
    )
    of_red, of_blue = shares
    red = luma + 2 * (1 - of_red) * red_less
    blue = luma + 2 * (1 - of_blue) * blue_less
    green = (luma - of_red * red - of_blue * blue) / (1 - of_red - of_blue)
    return [red, green, blue]
