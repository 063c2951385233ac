"""The metrics are those of the literature: checked against scikit-image and against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from training.metrics import Scores, luma, psnr, ssim


def pictures(height: int = 40, width: int = 51) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    ramp = np.add.outer(np.arange(height) * 3, np.arange(width) * 2)[..., None] + np.array([0, 20, 40])
    clean = (ramp % 256).astype(np.uint8)
    noisy = np.clip(clean + rng.normal(0, 12, clean.shape), 0, 255).astype(np.uint8)
    return noisy, clean


def test_luma_is_bt601_of_limited_range():
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert luma(colours)[0] == pytest.approx([16, 235, 81.481, 144.553, 40.966])


@pytest.mark.parametrize("size", [(11, 11), (40, 51), (37, 12)])
def test_ssim_is_scikit_images(size):
    noisy, clean = (luma(p) for p in pictures(*size))
    settings = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    assert ssim(noisy, clean) == pytest.approx(structural_similarity(noisy, clean, **settings), abs=1e-9)


def test_ssim_of_equal_pictures_is_one_and_needs_room_for_its_window():
    _, clean = pictures()
    assert ssim(luma(clean), luma(clean)) == pytest.approx(1, abs=1e-12)
    with pytest.raises(ValueError, match="at least 11×11 pixels, not 20×10"):
        ssim(np.zeros((10, 20)), np.zeros((10, 20)))


def test_psnr_is_scikit_images_and_finite_for_equal_pictures():
    noisy, clean = pictures()
    assert psnr(noisy, clean) == pytest.approx(peak_signal_noise_ratio(clean, noisy), abs=1e-9)
    assert psnr(clean, clean) == pytest.approx(10 * np.log10(255**2 / 1e-10))


def test_flicker_counts_what_changes_in_the_picture_alone():
    dark, bright = np.full((16, 16, 3), 40, np.uint8), np.full((16, 16, 3), 60, np.uint8)
    steady, nervous = Scores(), Scores()
    for truth in (dark, bright, dark):
        steady.add(truth + 5, truth)  # moves with the truth
        nervous.add(bright, truth)  # stands still while the truth moves by 20
    assert steady.means()["flicker"] == pytest.approx(0, abs=1e-9)
    assert nervous.means()["flicker"] == pytest.approx(20 * 219 / 255)


def test_means_are_over_frames_and_one_frame_cannot_flicker():
    noisy, clean = pictures()
    scores = Scores()
    scores.add(noisy, clean)
    alone = scores.means()
    assert alone["flicker"] is None
    scores.add(clean, clean)
    both = scores.means()
    assert both["psnr_y"] == pytest.approx((alone["psnr_y"] + psnr(clean, clean)) / 2)
    assert both["ssim_y"] == pytest.approx((alone["ssim_y"] + 1) / 2)


def test_frames_of_two_sizes_and_no_frames_are_refused():
    with pytest.raises(ValueError, match="20×16 against 16×20"):
        Scores().add(np.zeros((16, 20, 3), np.uint8), np.zeros((20, 16, 3), np.uint8))
    with pytest.raises(ValueError, match="no frame"):
        Scores().means()
