"""Text and frames over the pictures to train on."""

from __future__ import annotations

import numpy as np

from training.captions import Captions
from training.packed_clips import Packed

SIZE = 96


def plain(luma: int) -> Packed:
    half = SIZE // 2
    return np.concatenate([np.full((4, half, half), luma, np.uint8), np.full((2, half, half), 128, np.uint8)])


def test_both_sides_of_a_pair_get_the_same_and_it_stays() -> None:
    standing = shown = 0
    for seed in range(60):
        captions = Captions(SIZE, np.random.default_rng(seed))
        covers = []
        for _ in range(3):
            dark, bright = captions.onto(plain(60), plain(180))
            assert dark.shape == bright.shape == (6, SIZE // 2, SIZE // 2)
            assert dark.dtype == bright.dtype == np.uint8
            assert (dark[:4] <= bright[:4]).all()
            assert (dark[4:] == bright[4:]).all()
            covers.append(dark)
        shown += bool((covers[0] != plain(60)).any())
        standing += bool((covers[0] == covers[2]).all())
    assert shown > 45, "few lie outside of the crop"
    assert 12 < standing < 55, "names stand, counters count, tickers run"


def test_nothing_but_its_seed_decides() -> None:
    one, other = (Captions(SIZE, np.random.default_rng(7)) for _ in range(2))
    for _ in range(4):
        (a,), (b,) = one.onto(plain(100)), other.onto(plain(100))
        assert (a == b).all()


def test_letters_are_opaque_bright_and_thin() -> None:
    """Most are at the top of the range, where streaks, which let light through, seldom are."""
    brightest = [int(Captions(SIZE, np.random.default_rng(seed)).onto(plain(60))[0][:4].max()) for seed in range(60)]
    assert np.mean(np.array(brightest) >= 230) > 0.35
    assert max(brightest) <= 235, "limited range"
