"""Moving pictures along a flow."""

import torch
import torch.nn.functional as F

from esdnet.planes import pack, unpack
from esdnet.warp import Grow, PackedWarp, Warp


def test_no_motion_leaves_the_picture_as_it_was() -> None:
    picture = torch.rand(2, 6, 16, 24)
    assert (Warp(4)(picture, torch.zeros(2, 2, 4, 6)) - picture).abs().max() < 1e-5
    packed = torch.rand(2, 10, 16, 24)
    assert (PackedWarp(4)(packed, torch.zeros(2, 2, 4, 6)) - packed).abs().max() < 1e-5


def test_flows_grow_as_pictures_do() -> None:
    flow = torch.randn(2, 2, 5, 7)
    for factor in (2, 4, 8):
        expected = F.interpolate(flow, scale_factor=float(factor), mode="bilinear")
        assert (Grow(factor)(flow) - expected).abs().max() < 1e-5


def test_luma_moves_by_single_pixels_of_the_full_picture() -> None:
    """Half a packed pixel is one of luma: moved among its four phases, a picture keeps its finest pattern."""
    y = torch.rand(1, 1, 32, 48)
    u, v = torch.rand(2, 1, 1, 16, 24)
    flow = torch.zeros(1, 2, 4, 6)
    flow[:, 0] = 0.5
    moved, _, _ = unpack(PackedWarp(4)(pack(y, u, v), flow))
    assert (moved[..., :-1] - y[..., 1:]).abs().max() < 1e-4


def test_what_was_seen_moves_with_the_picture() -> None:
    picture = torch.rand(1, 6, 16, 24)
    both = torch.cat([picture, picture[:, :4]], dim=1)
    moved = PackedWarp(4)(both, torch.randn(1, 2, 4, 6))
    assert torch.equal(moved[:, 6:], moved[:, :4])
    assert not torch.equal(moved, both)
