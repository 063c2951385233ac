"""Means over windows: the quick way for one channel is the plain one."""

import pytest
import torch
import torch.nn.functional as F

from esdnet.box import box, box_plane


@pytest.mark.parametrize("size", [(18, 32), (5, 8), (3, 40), (12, 20), (9, 7)])  # the last two: no whole eights
@pytest.mark.parametrize("window", [3, 7, 9, 15])
def test_a_plane_is_averaged_as_pooling_does(size: tuple[int, int], window: int) -> None:
    torch.manual_seed(window)
    plane = torch.rand(2, 1, *size)
    expected = F.avg_pool2d(plane, window, 1, window // 2, count_include_pad=False)
    assert (box(plane, window) - expected).abs().max() < 1e-6
    assert (box_plane(plane, window) - expected).abs().max() < 1e-6
