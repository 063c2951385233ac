"""What is shown while the source is away: the last frame with a discreet notice, or a slate."""

from __future__ import annotations

import msgspec
import numpy as np

from pipeline.frame import Frame

_WHITE, _DARK, _SLATE = 235, 16, 40


def frozen(frame: Frame, away: float, noticed: bool) -> Frame:
    """A copy of the last frame; once `noticed`, with how long the picture has been away at its lower edge.

    Args:
        frame: yuv420p or gray.
        away: Seconds.
        noticed: Whether to write the notice.
    """
    if not noticed:
        return frame
    made = Frame(frame.header, frame.pixels.copy())
    _write(made, f"no picture for {_duration(away)}", at_centre=False)
    return made


def slate(frame: Frame, away: float) -> Frame:
    """A dark picture of the same size and format that says since when there is none.

    Args:
        frame: Any frame of the stream, yuv420p or gray.
        away: Seconds.
    """
    made = Frame(frame.header, np.full_like(frame.pixels, 128))
    made.planes()[0][...] = _SLATE
    _write(made, f"no picture for {_duration(away)}", at_centre=True)
    return made


def at(frame: Frame, pts: int) -> Frame:
    """The same picture at another time."""
    return Frame(msgspec.structs.replace(frame.header, pts=pts), frame.pixels)


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _write(frame: Frame, text: str, at_centre: bool) -> None:
    """Small white letters on a dark strip; chroma under it becomes grey."""
    import cv2

    luma, *chroma = frame.planes()
    height, width = luma.shape
    scale = max(0.3, height / 1080 * 0.9)
    thickness = max(1, round(height / 720))
    (wide, tall), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    margin = max(2, tall // 2)
    x = (width - wide) // 2 if at_centre else margin * 2
    y = (height + tall) // 2 if at_centre else height - below - margin * 2
    left, right = max(0, x - margin), min(width, x + wide + margin)
    top, bottom = max(0, y - tall - margin), min(height, y + below + margin)
    if not at_centre:
        strip = luma[top:bottom, left:right]
        strip[...] = (strip // 3 + _DARK).astype(np.uint8)
        for plane in chroma:
            plane[top // 2 : bottom // 2, left // 2 : right // 2] = 128
    cv2.putText(luma, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, _WHITE, thickness, cv2.LINE_AA)
