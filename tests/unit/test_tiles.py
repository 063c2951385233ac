"""Tiles: they cover the frame, leave no seam, keep their state, and the memory they take is what was planned."""

from __future__ import annotations

import itertools
import subprocess
import sys

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from esdnet import Derainer
from esdnet.errors import ModelError
from esdnet.tiles import ALIGN, OVERLAP, TiledDerainer, plan_tiles
from pipeline.errors import DerainError
from pipeline.frame import StreamInfo
from pipeline.memory import plan_memory

MODEL = "stream-nano"


def moving_picture(index: int, height: int, width: int) -> list[NDArray[np.uint8]]:
    """Soft hills that move by 6 pixels a frame, under streaks that come and go."""
    hills = cv2.resize(np.random.default_rng(3).random((height // 40 + 2, width // 40 + 4)), (width + 60, height))
    luma = (40 + 120 * hills[:, 6 * index : 6 * index + width]).astype(np.uint8)
    streaks = np.random.default_rng(100 + index)
    for x, y in zip(streaks.integers(0, width, 400), streaks.integers(0, height, 400), strict=True):
        luma[y : y + 14, x : x + 1] += 50
    chroma = ((height + 1) // 2, (width + 1) // 2)
    return [luma, np.full(chroma, 120, np.uint8), np.full(chroma, 140, np.uint8)]


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    error = float(np.mean((a.astype(float) - b) ** 2))
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


@pytest.mark.parametrize("size", [(360, 640), (1080, 1920), (2160, 3840), (1000, 1003), (300, 5000)])
@pytest.mark.parametrize("pixels", [256 * 256, 400 * 400, 700_000, 5_000_000])
def test_equal_tiles_cover_every_frame_and_overlap(size: tuple[int, int], pixels: int) -> None:
    tiling = plan_tiles(*size, pixels)
    assert tiling.height * tiling.width <= pixels
    for length, side, starts in ((size[0], tiling.height, tiling.tops), (size[1], tiling.width, tiling.lefts)):
        assert starts[0] == 0
        assert starts[-1] + side == length
        assert all(start % ALIGN == 0 for start in starts)
        assert all(before + side - after >= OVERLAP for before, after in itertools.pairwise(starts))


def test_a_frame_that_fits_is_one_tile() -> None:
    assert plan_tiles(360, 640, 360 * 640).count == 1


def test_tiles_too_small_to_see_enough_are_refused() -> None:
    with pytest.raises(ModelError, match="at least 256×256"):
        plan_tiles(1080, 1920, 100 * 100)


def test_there_is_no_seam_and_state_is_carried_in_every_tile() -> None:
    """Against the untiled run, over frames, in Y and chroma: at least 50 dB everywhere, also on the seams alone."""
    height, width = 272, 500
    whole = Derainer(MODEL, runtime="eager")
    tiled = TiledDerainer(Derainer(MODEL, runtime="eager"), 272 * 320)
    for index in range(5):
        frame = moving_picture(index, height, width)
        expected, got = whole(frame), tiled(frame)
        assert (frame[0] != expected[0]).mean() > 0.005  # the network does something
        for wanted, plane in zip(expected, got, strict=True):
            assert plane.shape == wanted.shape
            assert psnr(wanted, plane) >= 50
        assert psnr(expected[0][:, 180:320], got[0][:, 180:320]) >= 50


def test_a_reset_forgets_in_every_tile_and_a_new_size_is_a_new_tiling() -> None:
    tiled = TiledDerainer(Derainer(MODEL, runtime="eager"), 272 * 320)
    first = moving_picture(0, 272, 500)
    begun = tiled(first)
    tiled(moving_picture(1, 272, 500))
    tiled.reset()
    for a, b in zip(begun, tiled(first), strict=True):
        np.testing.assert_array_equal(a, b)
    small = moving_picture(0, 64, 64)
    for a, b in zip(Derainer(MODEL, runtime="eager")(small), tiled(small), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["grey", "rgb"])
def test_grey_and_rgb_in_tiles(kind: str) -> None:
    luma = moving_picture(0, 272, 500)[0]
    frame = luma if kind == "grey" else np.dstack([luma, np.roll(luma, 3, 1), np.roll(luma, 5, 0)])
    expected = Derainer(MODEL, runtime="eager")(frame)
    got = TiledDerainer(Derainer(MODEL, runtime="eager"), 272 * 320)(frame)
    assert isinstance(expected, np.ndarray)
    assert isinstance(got, np.ndarray)
    assert psnr(expected, got) >= 50


# --- Memory -----------------------------------------------------------------------------------------------------------


def info_of(width: int, height: int, **changes: int) -> StreamInfo:
    return StreamInfo(width=width, height=height, pixel_format="yuv420p", time_base=(1, 25), **changes)


@pytest.mark.parametrize("size", [(3840, 2160), (7680, 4320)])
def test_a_bound_is_kept_by_the_plan(size: tuple[int, int]) -> None:
    whole = plan_memory(info_of(*size), MODEL, "eager", 0)
    assert whole.tile is None
    bound = whole.megabytes // 2
    plan = plan_memory(info_of(*size), MODEL, "eager", bound)
    assert plan.tiles > 1
    assert plan.megabytes <= bound
    assert f"in {plan.tiles} tiles of" in plan.in_words()


def test_a_bound_that_cannot_be_kept_says_what_can() -> None:
    with pytest.raises(DerainError, match=r"--max-memory 700: 7680x4320 frames need at least [\d,]+ MB") as caught:
        plan_memory(info_of(7680, 4320), MODEL, "eager", 700)
    least = int(str(caught.value).split("at least ")[1].split(" MB")[0].replace(",", ""))
    assert plan_memory(info_of(7680, 4320), MODEL, "eager", least).megabytes <= least


def test_frames_that_do_not_fit_into_the_machine_are_told_before_the_start() -> None:
    with pytest.raises(DerainError, match=r"need about [\d,]+ MB, and 1,500 MB are free: --max-memory 1125"):
        plan_memory(info_of(7680, 4320), MODEL, "eager", 0, available=1500)


@pytest.mark.slow
def test_a_process_takes_no_more_than_planned() -> None:
    """Two frames of 720p within 80 % of what they would take whole, as the system counts the peak.

    VmHWM, because getrusage's ru_maxrss survives exec: under a grown test process the child began with 1.1 GB.
    """
    info = info_of(1280, 720)
    bound = plan_memory(info, MODEL, "eager", 0).megabytes * 8 // 10
    plan = plan_memory(info, MODEL, "eager", bound)
    assert plan.tile is not None
    script = f"""
from pathlib import Path
from esdnet import Derainer
from esdnet.tiles import TiledDerainer
from tests.unit.test_tiles import moving_picture
network = TiledDerainer(Derainer({MODEL!r}, runtime="eager", threads=1), {plan.tile[0] * plan.tile[1]})
for index in range(2):
    network(moving_picture(index, 720, 1280))
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=110, check=True)
    assert int(done.stdout) * 1024 / 1e6 <= bound
