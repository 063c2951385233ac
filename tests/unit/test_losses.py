"""What training minimises."""

from __future__ import annotations

import torch

from training.losses import deraining_loss, log_squared_error
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
