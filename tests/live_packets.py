"""Coded packets of a live stream for tests, as the encode stage makes them."""

from __future__ import annotations

import numpy as np

from pipeline.frame import Frame, FrameHeader, StreamInfo
from pipeline.live.encoder import LiveEncoder, Made
from pipeline.live.messages import TICKS
from pipeline.live_status import LiveOrder


def packets(seconds: int, rate: int = 10) -> list[Made]:
    """Small noisy pictures, a keyframe every second."""
    info = StreamInfo(width=64, height=48, pixel_format="yuv420p", time_base=(1, TICKS), average_rate=(rate, 1))
    encoder = LiveEncoder(info, LiveOrder(id="a", source="b", gop=1.0, preset="ultrafast", audio=False))
    random, made = np.random.default_rng(5), []
    for number in range(seconds * rate):
        header = FrameHeader(
            index=number,
            pts=number * TICKS // rate,
            width=64,
            height=48,
            pixel_format="yuv420p",
            duration=TICKS // rate,
        )
        made += encoder.picture(Frame(header, random.integers(0, 255, 64 * 48 * 3 // 2, np.uint8)), info)
    return made + encoder.flush()
