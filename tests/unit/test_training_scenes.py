"""Clean scenes to be rained on: what is thin and bright in them is not rain."""

from __future__ import annotations

import numpy as np

from training.scenes import StillScene


def test_some_photographs_have_bent_rims_of_light_that_stay() -> None:
    """The saucer's rim of scikit-image's coffee, thin, bright and bent, went as if it were a streak: 36 dB, dry."""
    grey = np.full((200, 300, 3), 90, np.uint8)
    shown = []
    for seed in range(200):
        scene = StillScene(grey, 96, np.random.default_rng(seed), standing=True)
        first, second = scene.next(), scene.next()
        assert (first == second).all()
        shown.append(int(first[:4].max()) - int(first[:4].min()))
    assert 0.05 < np.mean(np.array(shown) > 20) < 0.25  # of a fifth of the pictures, those whose crop has one


def test_some_photographs_are_sharpened() -> None:
    step = np.full((200, 300, 3), 60, np.uint8)
    step[:, 150:] = 160
    plain = StillScene(step, 96, np.random.default_rng(0), standing=True)
    least, most = 999, 0
    for seed in range(60):
        luma = StillScene(step, 96, np.random.default_rng(seed), standing=True).next()[:4]
        spread = int(luma.max()) - int(luma.min())
        least, most = min(least, spread), max(most, spread)
    assert plain.height == 360
    assert most > least + 20  # the edge overshoots
