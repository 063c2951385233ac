"""The rain renderer: what falls, falls on; what is dry stays dry; a crop looks like a part of the whole."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError

from training.rain import RainScene
from training.rain_light import apply, halve
from training.rain_settings import RAIN_KINDS, RainKind, RainSettings

PLAIN = RainSettings(
    intensity=0.5, length=10, exposure=1, width=1, depth=1, spread=0, gusts=0, angle=0, softness=0, focus=0
)
"""Drops that all fall straight down by 10 pixels a frame: then a frame is the one before, moved."""


ADDED = RainSettings(brightness=1.0, blueness=0.0, blend="add")


def scene(settings: RainSettings, height: int = 64, width: int = 80, seed: int = 0) -> RainScene:
    return RainScene(settings, height, width, np.random.default_rng(seed))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 33), (128, 128), (90, 7)])
def test_alpha_is_an_opacity_of_the_pictures_size(height, width):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        rain = RainScene(RainSettings.sample(rng, height=360), height, width, rng)
        for _ in range(3):
            alpha = rain.next()
            assert alpha.shape == (height, width)
            assert alpha.dtype == np.float32
            assert alpha.min() >= 0
            assert alpha.max() <= 1


def test_the_same_seed_gives_the_same_rain_and_another_seed_another():
    first, again, other = scene(PLAIN), scene(PLAIN), scene(PLAIN, seed=1)
    for _ in range(4):
        a, b, c = first.next(), again.next(), other.next()
        assert np.array_equal(a, b)
        assert not np.array_equal(a, c)


@pytest.mark.parametrize(
    ("angle", "down", "right"),
    [(0, 10, 0), (np.rad2deg(np.arctan2(3, 4)), 8, 6), (-np.rad2deg(np.arctan2(3, 4)), 8, -6), (90, 0, 10)],
)
def test_drops_move_on_by_their_speed(angle, down, right):
    rain = scene(PLAIN.model_copy(update={"angle": angle}))
    before = rain.next()
    after = rain.next()
    if right < 0:
        before, after = before[:, ::-1], after[:, ::-1]
    height, width = before.shape
    moved = before[: height - down, : width - abs(right)]
    assert moved.max() > 0.05
    assert np.allclose(after[down:, abs(right) :], moved, atol=1e-3)


def test_a_picture_filmed_sideways_sees_rain_fall_to_the_left_and_down():
    rain = scene(PLAIN.model_copy(update={"angle": -float(np.rad2deg(np.arctan2(4, 3)))}))
    before, after = rain.next(), rain.next()
    assert before.max() > 0.05
    assert np.allclose(after[6:, :-8], before[:-6, 8:], atol=1e-3)


def test_frozen_rain_stands_still():
    rain = scene(PLAIN.model_copy(update={"frozen": True, "mist": 0.1}))
    first = rain.next().copy()
    assert first.max() > 0.05
    assert all(np.array_equal(rain.next(), first) for _ in range(3))


def test_no_rain_leaves_every_pixel_as_it_was():
    rng = np.random.default_rng(0)
    planes = tuple(rng.normal(0.5, 1, shape).astype(np.float32) for shape in [(33, 47), (17, 24), (17, 24)])
    for blend in ("over", "add", "lighten"):
        rain = scene(RainSettings(intensity=0, blend=blend, reflection=0.5), 33, 47)
        assert all(np.array_equal(wet, dry) for wet, dry in zip(rain.onto(planes), planes, strict=True))


def test_more_intensity_covers_more():
    covered = [np.mean(scene(RainSettings(intensity=i), 180, 240).next() > 0.01) for i in (0.1, 0.3, 0.6, 1.0)]
    assert covered == sorted(covered)
    assert covered[0] < 0.05
    assert covered[-1] > 0.3


def test_rain_looks_alike_at_any_resolution():
    settings = RainSettings(intensity=0.6, width=2)
    means = []
    for scale in (1, 2, 3):
        big = settings.model_copy(update={"scale": float(scale)})
        means.append(np.mean([scene(big, 180 * scale, 240 * scale, seed).next().mean() for seed in range(6)]))
    assert means == pytest.approx([means[0]] * 3, rel=0.2)


@pytest.mark.parametrize("angle", [0, 30, -40, 90])
def test_a_crop_has_as_much_rain_as_the_whole_and_no_dry_border(angle):
    settings = RainSettings(intensity=0.7, length=40, angle=angle, spread=4, depth=1.5)
    whole = np.mean([scene(settings, 240, 320, seed).next().mean() for seed in range(6)])
    crops = [scene(settings, 48, 48, seed) for seed in range(120)]
    for crop in crops:
        crop.next()
    frames = np.array([crop.next() for crop in crops])
    assert frames.mean() == pytest.approx(whole, rel=0.2)
    for border in (frames[:, :6], frames[:, -6:], frames[:, :, :6], frames[:, :, -6:]):
        assert border.mean() == pytest.approx(frames.mean(), rel=0.25)


def test_rain_neither_dies_out_nor_piles_up():
    rain = scene(RainSettings(intensity=0.7, angle=20, exposure=0.5, gusts=5), 120, 160)
    means = [rain.next().mean() for _ in range(200)]
    assert np.mean(means[-40:]) == pytest.approx(np.mean(means[:40]), rel=0.25)


def test_over_blends_towards_the_airlight_and_halves_the_opacity_for_chroma():
    alpha = np.zeros((3, 5), np.float32)
    alpha[0, 0] = 0.8
    luma, chroma = np.full((3, 5), 0.5, np.float32), np.full((2, 3), 0.1, np.float32)
    y, u, v = apply((luma, chroma, chroma), alpha, RainSettings(brightness=0.9, blueness=0.02))
    assert y[0, 0] == pytest.approx(0.5 + 0.8 * 0.4)
    assert u[0, 0] == pytest.approx(0.1 + 0.2 * (0.02 - 0.1))
    assert v[0, 0] == pytest.approx(0.1 + 0.2 * (-0.01 - 0.1))
    assert y[1, 1] == np.float32(0.5)


def test_reflected_light_is_that_of_what_is_around_the_streak():
    """Drops send on the light from behind and around them, so a streak is bright before the sky, dark before a wood."""
    luma = np.repeat(np.array([0.9, 0.1], np.float32), 60)[None].repeat(80, 0)
    blue = np.repeat(np.array([0.2, -0.1], np.float32), 30)[None].repeat(40, 0)
    alpha = np.zeros((80, 120), np.float32)
    alpha[40, [20, 100]] = 0.5
    settings = RainSettings(brightness=0.5, blueness=0, reflection=0.75, surroundings=(20, 10))
    planes = (luma, blue, np.zeros_like(blue))
    y, u, v = apply(planes, alpha, settings)
    assert y[40, 20] - 0.9 == pytest.approx(0.5 * 0.25 * (0.5 - 0.9), abs=1e-4)
    assert y[40, 100] - 0.1 == pytest.approx(0.5 * 0.25 * (0.5 - 0.1), abs=1e-4)
    assert u[20, 10] - 0.2 == pytest.approx(0.125 * 0.25 * -0.2, abs=1e-4)
    assert not v.any()
    added = apply(planes, alpha, settings.model_copy(update={"blend": "add"}))
    assert added[0][40, 100] - 0.1 == pytest.approx(0.5 * (0.25 * 0.5 + 0.75 * 0.1), abs=1e-4)
    lighter = apply(planes, alpha, settings.model_copy(update={"blend": "lighten"}))
    assert np.array_equal(lighter[0][:, :60], luma[:, :60])
    assert lighter[0][40, 100] == y[40, 100]
    assert lighter[1][20, 10] == blue[20, 10]


def test_reflected_light_looks_alike_at_any_resolution():
    settings = RainSettings(reflection=0.8, surroundings=(30, 8), brightness=0.9)
    picture = np.random.default_rng(0).random((120, 160)).astype(np.float32)
    small = apply((picture, halve(picture), halve(picture)), np.full(picture.shape, 0.5, np.float32), settings)[0]
    large = np.kron(picture, np.ones((3, 3), np.float32))
    opacity = np.full(large.shape, 0.5, np.float32)
    larger = apply((large, halve(large), halve(large)), opacity, settings.model_copy(update={"scale": 3.0}))[0]
    assert np.abs(larger[1::3, 1::3] - small).mean() < 0.01


def test_added_light_stops_at_white_and_takes_the_colour_along():
    luma, chroma = np.full((4, 4), 0.7, np.float32), np.full((2, 2), 0.2, np.float32)
    y, u, _ = apply((luma, chroma, chroma), np.ones((4, 4), np.float32), ADDED)
    assert np.allclose(y, 1)
    assert np.allclose(u, 0)
    y, u, _ = apply((luma, chroma, chroma), np.full((4, 4), 0.2, np.float32), ADDED)
    assert np.allclose(y, 0.9)
    assert np.allclose(u, 0.2)


def test_halve_repeats_odd_edges():
    plane = np.arange(15, dtype=np.float32).reshape(3, 5)
    assert np.allclose(halve(plane), [[3, 5, 6.5], [10.5, 12.5, 14]])


def test_sampled_rain_ranges_from_none_to_a_downpour():
    luma = np.tile(np.linspace(0.1, 0.7, 200, dtype=np.float32), (120, 1))
    planes = (luma, np.zeros((60, 100), np.float32), np.zeros((60, 100), np.float32))
    found, dry = [], 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        settings = RainSettings.sample(rng, height=120)
        dry += settings.intensity == 0
        wet = RainScene(settings, 120, 200, rng).onto(planes)[0]
        found.append(10 * np.log10(1 / max(float(np.mean((wet - luma) ** 2)), 1e-10)))
    assert 18 <= dry <= 42
    assert 28 <= np.median(found) <= 37
    assert np.percentile(found, 3) < 20
    assert np.mean((np.array(found) > 22) & (np.array(found) < 42)) > 0.6


def test_some_sampled_rain_shines_in_the_light_around_it_and_is_the_more_opaque():
    """On such rain weights gained half of what they gained on white streaks: they had seen only those."""
    drawn = [RainSettings.sample(np.random.default_rng(seed), height=360) for seed in range(600)]
    reflecting = [one for one in drawn if one.reflection]
    assert 0.2 < len(reflecting) / len(drawn) < 0.5
    assert {one.blend for one in reflecting} == {"over", "lighten"}
    plain = [one for one in drawn if not one.reflection and one.intensity and one.blend == "over"]
    assert np.median([one.opacity for one in reflecting]) > 1.3 * np.median([one.opacity for one in plain])


def test_settings_refuse_what_cannot_be():
    with pytest.raises(ValidationError, match="Extra inputs"):
        RainSettings(intensty=0.5)
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        RainSettings(intensity=2)
    with pytest.raises(ValueError, match="at least 1×1"):
        scene(PLAIN, 0, 5)


def test_rain_to_train_on_falls_aslant_as_often_as_it_does_before_a_driving_camera():
    """Nearly all of it fell within 30° of the vertical, and weights trained on it left diagonal real rain alone."""
    rng = np.random.default_rng(0)
    angles = np.abs([RainSettings.sample(rng, height=360).angle for _ in range(2000)])
    assert 0.15 < np.mean((angles > 25) & (angles < 60)) < 0.3
    assert 0.01 < np.mean(angles > 75) < 0.06


def test_kinds_of_rain_are_drawn_as_often_as_they_are_weighed():
    """A user whose cameras see one kind of rain could not train on more of it: the shares stood in the code."""
    rng = np.random.default_rng(1)
    dry = [RainSettings.sample(rng, height=360, kinds={"dry": 1.0, "bold": 3.0}) for _ in range(800)]
    assert 0.2 < np.mean([not one.intensity for one in dry]) < 0.3
    effect = [RainSettings.sample(rng, height=360, kinds={"effect": 0.5}) for _ in range(100)]
    assert all(one.reflection and not one.mist for one in effect)


def test_the_shares_kept_in_the_code_are_those_of_all():
    assert sum(RAIN_KINDS.values()) == pytest.approx(1)
    assert set(RAIN_KINDS) == set(get_args(RainKind))
