"""Moving pictures along a flow."""

import torch
import torch.nn.functional as F

from esdnet.planes import pack, unpack
from esdnet.warp import Grow, PackedWarp, Warp


def test_no_motion_leaves_the_picture_as_it_was() -> None:
    picture = torch.rand(2, 6, 16, 24)
    assert (Warp(4)(picture, torch.zeros(2, 2, 4, 6)) - picture).abs().max() < 1e-5
    seen = picture[:, 2:]
    moved = PackedWarp(4)(picture, torch.zeros(2, 2, 4, 6), seen)
    assert (torch.cat(moved, dim=1) - torch.cat([picture, seen], dim=1)).abs().max() < 1e-5


def test_flows_grow_as_pictures_do() -> None:
    flow = torch.randn(2, 2, 5, 7)
    for factor in (2, 4, 8):
        expected = F.interpolate(flow, scale_factor=float(factor), mode="bilinear")
        assert (Grow(factor)(flow) - expected).abs().max() < 1e-5
        cells = Grow(factor).cells(flow).view(2, 5, 7, factor, factor, 2)
        assert (cells.permute(0, 5, 1, 3, 2, 4).reshape(expected.shape) - expected).abs().max() < 1e-5


def test_luma_moves_by_single_pixels_of_the_full_picture() -> None:
    """Half a packed pixel is one of luma: moved among its four phases, a picture keeps its finest pattern."""
    y = torch.rand(1, 1, 32, 48)
    u, v = torch.rand(2, 1, 1, 16, 24)
    flow = torch.zeros(1, 2, 4, 6)
    flow[:, 0] = 0.5
    moved, _, _ = unpack(torch.cat(PackedWarp(4)(pack(y, u, v), flow), dim=1))
    assert (moved[..., :-1] - y[..., 1:]).abs().max() < 1e-4


def test_what_was_seen_moves_with_the_picture() -> None:
    picture = torch.rand(1, 6, 16, 24)
    luma, _, seen = PackedWarp(4)(picture, torch.randn(1, 2, 4, 6), picture[:, :4])
    assert torch.equal(luma, seen)
    assert not torch.equal(luma, picture[:, :4])
