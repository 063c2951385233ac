"""What training minimises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from training.losses import deraining_loss, log_squared_error, ssim
from training.run_config import LossConfig


def test_log_squared_error_counts_pictures_by_decibels() -> None:
    """Ten times less error is worth as much in a drizzle as in a downpour, down to the floor, where nothing is left."""
    error = torch.full((1, 1, 4, 8, 8), 0.3)
    steps = [float(log_squared_error(error * scale) - log_squared_error(error * scale / 2)) for scale in (1.0, 0.2)]
    assert abs(steps[0] - steps[1]) < 0.05 * steps[0]
    assert float(log_squared_error(error * 0)) == 0
    assert float(log_squared_error(error * 1e-3)) < 0.01


def test_a_part_that_weighs_nothing_is_left_out() -> None:
    clean = torch.rand(2, 1, 6, 16, 16)
    rainy = (clean + 0.1).clamp(0, 1)
    with_it, parts = deraining_loss(rainy, clean, rainy, LossConfig(psnr=0.01, ssim=0))
    without, fewer = deraining_loss(rainy, clean, rainy, LossConfig(ssim=0))
    assert set(parts) - set(fewer) == {"psnr"}
    torch.testing.assert_close(with_it - without, 0.01 * log_squared_error((rainy - clean)[:, :, :4]))


def test_the_ssim_trained_on_is_the_one_measured():
    """Its window is two products with banded matrices: as convolutions of one channel it was two thirds of a step."""
    rng = np.random.default_rng(3)
    clean = rng.random((30, 41))
    noisy = np.clip(clean + rng.normal(0, 0.1, clean.shape), 0, 1)
    a, b = (torch.from_numpy(side)[None, None] for side in (noisy, clean))
    settings = {"data_range": 1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    _, whole = structural_similarity(noisy, clean, full=True, **settings)
    assert float(ssim(a, b)) == pytest.approx(whole[5:-5, 5:-5].mean(), abs=1e-9)
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ssim(a[..., :10, :], b[..., :10, :])
