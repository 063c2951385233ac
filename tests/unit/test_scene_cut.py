"""Scene cuts: found on the very frame, and not in rain, flicker, movement or noise."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.frame import Frame, FrameHeader
from pipeline.scene_cut import SceneCut
from training.rain import RainScene, RainSettings

Luma = NDArray[np.float32]
WIDTH, HEIGHT = 320, 180


def scene(seed: int, width: int = WIDTH, height: int = HEIGHT) -> Luma:
    """A picture with large and small shapes, luma 40..200."""
    rng = np.random.default_rng(seed)
    levels = [cv2.resize(rng.random((n * 9, n * 16), np.float32), (width, height)) for n in (1, 4)]
    return np.asarray(40 + 160 * (0.7 * levels[0] + 0.3 * levels[1]), np.float32)


def frame(index: int, luma: Luma, pixel_format: str = "yuv420p") -> Frame:
    height, width = luma.shape
    y = np.clip(np.rint(luma), 0, 255).astype(np.uint8)
    header = FrameHeader(index=index, pts=index, width=width, height=height, pixel_format=pixel_format)
    if pixel_format == "gray":
        return Frame(header, y.reshape(-1))
    if pixel_format == "rgb24":
        return Frame(header, np.dstack([y, y, y]).reshape(-1))
    chroma = np.full(2 * ((height + 1) // 2) * ((width + 1) // 2), 128, np.uint8)
    return Frame(header, np.concatenate([y.reshape(-1), chroma]))


def cuts(lumas: list[Luma], pixel_format: str = "yuv420p") -> list[int]:
    look = SceneCut()
    return [index for index, luma in enumerate(lumas) if look.is_cut(frame(index, luma, pixel_format))]


def rainy(picture: Luma, frames: int, seed: int) -> list[Luma]:
    """A downpour of long, wide, bright streaks; other ones in each frame."""
    settings = RainSettings(intensity=0.8, length=40, width=1.6, opacity=0.4, exposure=0.5, taper=0, scale=0.5)
    rain = RainScene(settings, *picture.shape, np.random.default_rng(seed))
    return [picture * (1 - alpha) + alpha * 235 for alpha in (rain.next() for _ in range(frames))]


@pytest.mark.parametrize("pixel_format", ["yuv420p", "gray", "rgb24"])
@pytest.mark.parametrize("size", [(320, 180), (181, 321), (1920, 1080), (16, 16)])
def test_a_hard_cut_is_found_on_the_first_frame_of_the_new_shot(size: tuple[int, int], pixel_format: str) -> None:
    assert cuts([scene(1, *size)] * 4 + [scene(2, *size)] * 4, pixel_format) == [4]


def test_a_cut_in_a_downpour_is_found_and_the_downpour_is_none() -> None:
    first, second = rainy(scene(1), 12, 0), rainy(scene(2), 12, 1)
    noise = float(np.mean([(rained - scene(1)) ** 2 for rained in first]))
    assert 10 * np.log10(255**2 / noise) < 16  # dB; or this is no downpour
    assert cuts(first + second) == [12]


def test_rain_that_begins_and_ends_is_no_cut() -> None:
    dry = [scene(3)] * 4
    assert cuts(dry + rainy(scene(3), 8, 2) + dry) == []


def test_flicker_and_lightning_are_no_cuts() -> None:
    rng = np.random.default_rng(4)
    flicker = [scene(4) * gain for gain in rng.uniform(0.6, 1.2, 12)]
    lightning = [scene(4)] * 4 + [scene(4) * 0.6 + 100] * 2 + [scene(4)] * 4
    assert cuts(flicker) == []
    assert cuts(lightning) == []


def test_cuts_are_found_in_the_dark() -> None:
    assert cuts([16 + (scene(5) - 40) / 8] * 4 + [16 + (scene(6) - 40) / 8] * 4) == [4]


def test_noise_on_a_flat_picture_is_no_cut() -> None:
    rng = np.random.default_rng(7)
    assert cuts([np.asarray(30 + rng.normal(0, 3, (HEIGHT, WIDTH)), np.float32) for _ in range(12)]) == []


def test_a_racing_camera_is_not_a_string_of_cuts() -> None:
    wide = scene(8, WIDTH * 12, HEIGHT)
    pan = [wide[:, step * 300 : step * 300 + WIDTH] for step in range(11)]  # almost a new picture each frame
    assert cuts(pan) == [1]  # where nothing is known yet of how much changes here


def test_each_of_several_shots_is_found() -> None:
    assert cuts([scene(seed) for seed in (10, 11, 12, 13) for _ in range(6)]) == [6, 12, 18]


def test_another_size_is_no_cut_and_what_follows_is_seen() -> None:
    assert cuts([scene(1)] * 2 + [scene(1, 160, 90)] * 3 + [scene(2, 160, 90)] * 2) == [5]
