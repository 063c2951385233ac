"""Two frames of one size in one picture, to be looked at: side by side, or one screen split in the middle.

Works on the planes as they are (yuv420p, gray or rgb24), so that what is shown is what the files hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.colour import is_full_range
from pipeline.errors import DerainError
from pipeline.frame import Frame, StreamInfo
from pipeline.upright import quarter_turns, turned

Plane = NDArray[np.uint8]


@dataclass(frozen=True)
class Layout:
    """How two frames are put together. `labels` are written on the left and the right one; empty ones are not."""

    split: bool = False  # the left half of one beside the right half of the other, with a line between
    labels: tuple[str, str] = ("", "")


def check_pair(left: StreamInfo, right: StreamInfo) -> None:
    """DerainError unless frames of the two streams can stand in one picture."""
    if _shown(left) != _shown(right):
        raise DerainError(f"can't compare {_shown(left)} with {_shown(right)}: scale one to the other's size first")
    if ("rgb24" in (left.pixel_format, right.pixel_format)) and left.pixel_format != right.pixel_format:
        raise DerainError("can't compare pictures (RGB) with a video (YUV): give two videos or two folders of pictures")
    if is_full_range(left) != is_full_range(right):
        names = ["full" if is_full_range(info) else "limited" for info in (left, right)]
        raise DerainError(f"can't compare {names[0]} range with {names[1]} range: the colours would not be comparable")


def describe(info: StreamInfo, layout: Layout) -> StreamInfo:
    """What the pictures made by `put_together` are, seen upright and with the left one's colour tags and timing."""
    width, height = _upright_size(info)
    ratio = info.sample_aspect_ratio
    if ratio and info.rotation % 180:
        ratio = (ratio[1], ratio[0])
    return msgspec.structs.replace(
        info,
        width=width if layout.split else width + width % 2 + width,
        height=height,
        rotation=0,
        display_matrix=info.display_matrix if info.rotation == 0 else None,
        sample_aspect_ratio=ratio,
    )


def put_together(left: Frame, right: Frame, infos: tuple[StreamInfo, StreamInfo], layout: Layout) -> Frame:
    """One frame from two, with the header (time stamp, name) of the left. DerainError if their sizes differ."""
    a, b = (_upright(frame, info) for frame, info in zip((left, right), infos, strict=True))
    colours = max(len(a), len(b))  # grey beside colour becomes colour
    a, b = (_as_planes(planes, colours) for planes in (a, b))
    if a[0].shape != b[0].shape:
        sizes = " and ".join(f"{planes[0].shape[1]}×{planes[0].shape[0]}" for planes in (a, b))
        raise DerainError(f"frame {left.header.index} has two sizes, {sizes}: scale one to the other's size first")
    white = 255 if a[0].ndim == 3 or is_full_range(infos[0]) else 235
    for planes, label, at_right in ((a, layout.labels[0], False), (b, layout.labels[1], layout.split)):
        if label:
            _write(planes, label, at_right, white)
    planes = _split(a, b, white) if layout.split else _beside(a, b)
    height, width = planes[0].shape[:2]
    form = "yuv420p" if len(planes) == 3 else left.header.pixel_format
    header = msgspec.structs.replace(left.header, width=width, height=height, pixel_format=form)
    return Frame(header, np.concatenate([plane.reshape(-1) for plane in planes]))


def _shown(info: StreamInfo) -> str:
    return "×".join(map(str, _upright_size(info)))


def _upright_size(info: StreamInfo) -> tuple[int, int]:
    return (info.height, info.width) if info.rotation % 180 else (info.width, info.height)


def _upright(frame: Frame, info: StreamInfo) -> list[Plane]:
    """Own copies of the planes (labels are drawn on them), turned as a player would show them."""
    return [plane.copy() for plane in turned(frame.planes(), quarter_turns(info))]


def _as_planes(planes: list[Plane], count: int) -> list[Plane]:
    if len(planes) == count:
        return planes
    height, width = planes[0].shape
    return [planes[0], *(np.full(((height + 1) // 2, (width + 1) // 2), 128, np.uint8) for _ in range(2))]


def _beside(a: list[Plane], b: list[Plane]) -> list[Plane]:
    """Left and right of each other. An odd width gets one more column: the right one's chroma starts at an even one."""
    odd = a[0].shape[1] % 2
    return [
        np.hstack([np.pad(left, ((0, 0), (0, odd), (0, 0))[: left.ndim], "edge") if number == 0 else left, right])
        for number, (left, right) in enumerate(zip(a, b, strict=True))
    ]


def _split(a: list[Plane], b: list[Plane], white: int) -> list[Plane]:
    """The left half of `a`, the right half of `b`, and a line of two pixels between them."""
    middle = a[0].shape[1] // 4 * 2  # even, so that it is a border between chroma samples too
    merged = []
    for number, (left, right) in enumerate(zip(a, b, strict=True)):
        at = middle // 2 if number else middle
        plane = np.hstack([left[:, :at], right[:, at:]])
        plane[:, max(0, at - (1 if number == 0 else 0)) : at + 1] = 128 if number else white
        merged.append(plane)
    return merged


def _write(planes: list[Plane], text: str, at_right: bool, white: int) -> None:
    """White letters with a dark rim in the upper corner, readable on anything; on luma alone where there is chroma."""
    height, width = planes[0].shape[:2]
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, max(0.4, height / 480)
    thick = max(1, round(scale * 1.5))
    (length, tall), _ = cv2.getTextSize(text, font, scale, thick)
    margin = tall // 2 + 2
    origin = (max(0, width - length - margin) if at_right else margin, tall + margin)
    rim = white - 219 if white == 235 else 0
    # The rim is the same letters moved: bolder ones, as OpenCV 5 draws them, are wider apart.
    around = [(rim, x, y) for x in (-thick, 0, thick) for y in (-thick, 0, thick) if x or y]
    for colour, x, y in (*around, (white, 0, 0)):
        shade = (colour,) * 3 if planes[0].ndim == 3 else colour
        cv2.putText(planes[0], text, (origin[0] + x, origin[1] + y), font, scale, shade, thick, cv2.LINE_AA)
