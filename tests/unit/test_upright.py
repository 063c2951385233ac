"""Frames that are stored lying on their side are shown to the network as a viewer sees them.

Real rain filmed with a telephone was left alone: it fell sideways through the frames as they are stored, although the
file said how they are to be turned.
"""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from esdnet import Derainer
from pipeline.deraining import Deraining
from pipeline.frame import Frame, FrameHeader, StreamInfo
from pipeline.job import Job
from pipeline.live import derain as live
from pipeline.upright import quarter_turns, turned

WIDTH, HEIGHT, FRAMES = 64, 96, 3  # upright, as a telephone is held


def rain() -> list[list[NDArray[np.uint8]]]:
    """Y, U, V of upright pictures: a soft ground with streaks that fall."""
    rng = np.random.default_rng(5)
    ground = np.linspace(60, 110, WIDTH)[None] + np.linspace(0, 30, HEIGHT)[:, None]
    chroma = [np.full((HEIGHT // 2, WIDTH // 2), code, np.uint8) for code in (120, 135)]
    pictures = []
    for _ in range(FRAMES):
        luma = ground.copy()
        for x, y in zip(rng.integers(0, WIDTH, 12), rng.integers(0, HEIGHT - 20, 12), strict=True):
            luma[y : y + 20, x] += 60
        pictures.append([luma.astype(np.uint8), *chroma])
    return pictures


def stored(planes: list[NDArray[np.uint8]], rotation: int, index: int) -> tuple[StreamInfo, Frame]:
    lying = turned(planes, -rotation // 90)
    height, width = lying[0].shape
    info = StreamInfo(width=width, height=height, pixel_format="yuv420p", time_base=(1, 25), rotation=rotation)
    header = FrameHeader(index=index, pts=index, width=width, height=height, pixel_format="yuv420p")
    return info, Frame(header, np.concatenate([plane.reshape(-1) for plane in lying]))


def upright() -> list[Any]:
    network = Derainer("stream-nano", runtime="eager", threads=1)
    return [network(planes) for planes in rain()]


@pytest.mark.parametrize("rotation", [90, 180, -90, 270])
def test_a_lying_film_comes_out_as_the_upright_one_does(rotation: int) -> None:
    network = Derainer("stream-nano", runtime="eager", threads=1)
    job = Job(source="in.mp4", destination="out.mp4", model="stream-nano", scene_cuts=False)
    deraining: Deraining | None = None
    for index, (planes, wanted) in enumerate(zip(rain(), upright(), strict=True)):
        info, frame = stored(planes, rotation, index)
        deraining = deraining or Deraining(info, job, lambda _: network)
        dry = deraining(frame)
        assert (dry.header.width, dry.header.height) == (info.width, info.height)
        for made, one in zip(dry.planes(), turned(wanted, -rotation // 90), strict=True):
            np.testing.assert_array_equal(made, one)


def test_a_lying_camera_is_derained_upright_too() -> None:
    order = SimpleNamespace(
        model="stream-nano", runtime="eager", threads=1, on_overload="block", preview="", scene_cuts=False
    )
    stage: Any = SimpleNamespace(
        order=order, texts={}, gauges={}, resets=[], count=lambda *_: None, counts=defaultdict(int), busy=lambda _: None
    )
    work = live._Work(stage)
    for index, (planes, wanted) in enumerate(zip(rain(), upright(), strict=True)):
        info, frame = stored(planes, -90, index)
        if index == 0:
            work.prepare(info)
        for made, one in zip(work.derained(info, frame).planes(), turned(wanted, 1), strict=True):
            np.testing.assert_array_equal(made, one)
    work.close()


@pytest.mark.parametrize(("rotation", "quarters"), [(0, 0), (90, 1), (-90, 3), (180, 2), (-180, 2), (270, 3), (360, 0)])
def test_quarters_of_a_rotation(rotation: int, quarters: int) -> None:
    info = StreamInfo(width=4, height=2, pixel_format="gray", time_base=(1, 25), rotation=rotation)
    assert quarter_turns(info) == quarters
