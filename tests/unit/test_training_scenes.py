"""Clean scenes to be rained on: what is thin and bright in them is not rain."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from training.blades import with_blades
from training.occlusion import OccludedScene
from training.packed_clips import Packed
from training.scenes import StillScene


def test_some_photographs_have_bent_rims_of_light_that_stay() -> None:
    """The saucer's rim of scikit-image's coffee, thin, bright and bent, went as if it were a streak: 36 dB, dry."""
    grey = np.full((200, 300, 3), 90, np.uint8)
    shown = []
    for seed in range(200):
        scene = StillScene(grey, 96, np.random.default_rng(seed), standing=True, rims=0.2)
        first, second = scene.next(), scene.next()
        assert (first == second).all()
        shown.append(int(first[:4].max()) - int(first[:4].min()))
    assert 0.05 < np.mean(np.array(shown) > 20) < 0.25  # of a fifth of the pictures, those whose crop has one


def test_some_photographs_have_poles_that_stay() -> None:
    """`stream` took a downpipe out of a wall: bright, thin, upright, and new at the border of what the camera saw."""
    grey = np.full((200, 300, 3), 90, np.uint8)
    tall = bright = 0
    for seed in range(200):
        scene = StillScene(grey, 96, np.random.default_rng(seed), standing=True, poles=0.3)
        first, second = scene.next(), scene.next()
        assert (first == second).all()
        luma = first[:4].astype(int) - int(np.median(first[:4]))
        tall += bool((np.abs(luma) > 8).any(axis=(0, 2)).mean() > 0.9)
        bright += bool((luma > 8).any())
    assert 15 < tall < 60  # of 60 pictures, those whose crop has one from top to bottom
    assert bright > 0.6 * tall


@pytest.mark.parametrize("drawn", ["fences", "lattices"])
def test_some_photographs_have_rows_of_lines_that_stay(drawn: str) -> None:
    """A railing of thin bright bars went as if it were rain, whole, and stayed away while the camera stood: 15 dB. So
    did the upright joints of a brick wall, 30 dB, and the wires of chain link, 28."""
    grey = np.full((200, 300, 3), 90, np.uint8)
    crossed = 0
    for seed in range(200):
        scene = StillScene(grey, 96, np.random.default_rng(seed), standing=True, **{drawn: 0.5})
        first, second = scene.next(), scene.next()
        assert (first == second).all()
        line = first[0, 24].astype(int)
        rises = np.flatnonzero(np.diff((np.abs(line - int(np.median(line))) > 20).astype(int)) == 1)
        crossed += len(rises) >= 4
    assert 10 < crossed < 90  # of a hundred, those that have upright or slanted lines in that line of the crop


def test_some_photographs_have_fields_of_blades_that_stay() -> None:
    """Grass that stood still went blade by blade, dry: a clip of a meadow came out at 39 dB."""
    grey = np.full((200, 300, 3), 90, np.uint8)
    fields, darker, brighter = 0, 0, 0
    for seed in range(100):
        scene = StillScene(grey, 96, np.random.default_rng(seed), standing=True, blades=0.5)
        first, second = scene.next(), scene.next()
        assert (first == second).all()
        luma = first[:4].astype(int) - int(np.median(first[:4]))
        fields += bool((np.abs(luma) > 6).mean() > 0.1)
        darker, brighter = darker + bool((luma < -15).any()), brighter + bool((luma > 15).any())
    assert 20 < fields < 60  # of fifty, those whose field reaches into the crop
    assert darker > 0.8 * fields and brighter > 0.8 * fields


def test_some_blades_are_tufts_of_light_lines_on_dark() -> None:
    """Bristles, a seed's hairs and drawn flourishes, dry, lost their light: fields of grass are dense, all of them."""
    grey = np.full((240, 240, 3), 120, np.uint8)
    tufts = 0
    for seed in range(60):
        drawn = with_blades(grey, np.random.default_rng(seed)).astype(int)
        shade = (np.ptp(drawn, axis=2) == 0) & (drawn[..., 0] < 105)  # the picture itself, darker, where a tuft stands
        light = drawn.mean(2) > 135
        tufts += bool(shade.mean() > 0.03 and 0.001 < light.mean() < 0.2)
    assert 10 < tufts < 40


def test_some_photographs_are_sharpened() -> None:
    step = np.full((200, 300, 3), 60, np.uint8)
    step[:, 150:] = 160
    plain = StillScene(step, 96, np.random.default_rng(0), standing=True)
    least, most = 999, 0
    for seed in range(60):
        luma = StillScene(step, 96, np.random.default_rng(seed), standing=True, sharpened=0.3).next()[:4]
        spread = int(luma.max()) - int(luma.min())
        least, most = min(least, spread), max(most, spread)
    assert plain.height == 360
    assert most > least + 20  # the edge overshoots


class Plain:
    """A scene of one luma, a code brighter every frame."""

    height = 360

    def __init__(self, luma: int) -> None:
        self.luma = luma

    def next(self) -> Packed:
        self.luma += 1
        return np.concatenate([np.full((4, 48, 48), self.luma, np.uint8), np.full((2, 48, 48), 128, np.uint8)])


def test_things_pass_in_front_of_scenes_with_an_edge() -> None:
    """Without edges that move against what is behind them `stream-nano` left black specks at a seam that wandered."""
    moved = played = 0
    for seed in range(60):
        scene = OccludedScene(Plain(60), Plain(180), np.random.default_rng(seed))
        shots = [scene.next() for _ in range(8)]
        assert all(shot.shape == (6, 48, 48) and shot.dtype == np.uint8 for shot in shots)
        assert all((shot[4:] == 128).all() for shot in shots), "grey stays grey"
        masks = []
        for number, shot in enumerate(shots):
            behind = shot[:4] == 61 + number  # where nothing is in front the scene behind goes on as it is
            masks.append(behind)
        moved += any((a != b).any() for a, b in pairwise(masks))
        lights = [
            int(np.median(shot[:4][~behind])) for shot, behind in zip(shots, masks, strict=True) if (~behind).any()
        ]
        played += len(lights) > 1 and lights[-1] > lights[0]
    assert moved > 25, "most move"
    assert 5 < played < 40, "some play on, some are a picture of what they were"
