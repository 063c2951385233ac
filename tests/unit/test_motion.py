"""Block matching and the warp of the past."""

import pytest
import torch
import torch.nn.functional as F

from esdnet.motion import estimate_motion, warp


def texture(height: int, width: int) -> torch.Tensor:
    torch.manual_seed(3)
    coarse = torch.rand(1, 1, height // 8, width // 8)
    fine = torch.rand(1, 1, height // 2, width // 2)
    grown = [F.interpolate(x, size=(height, width), mode="bicubic") for x in (coarse, fine)]
    return (0.6 * grown[0] + 0.3 * grown[1]).clamp(0, 1)


@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (-5, 2), (11, -7), (0, -14)])
def test_finds_a_pan(dx: int, dy: int) -> None:
    whole = texture(128, 160)
    past, present = whole[..., 16:112, 16:144], whole[..., 16 + dy : 112 + dy, 16 + dx : 144 + dx]
    flow = estimate_motion(past, present)
    inner = flow[:, 24:-24, 24:-24]
    assert (inner[..., 0] - dx).abs().median() < 0.5
    assert (inner[..., 1] - dy).abs().median() < 0.5
    stayed = ((past - present) ** 2)[..., 24:-24, 24:-24].mean()
    warped = ((warp(past, flow) - present) ** 2)[..., 24:-24, 24:-24].mean()
    assert warped < 0.1 * stayed


def test_rain_does_not_move_a_still_picture() -> None:
    past = texture(96, 128)
    present = past.clone()
    torch.manual_seed(0)
    for x in torch.randint(0, 128, (30,)).tolist():
        y = int(torch.randint(0, 70, (1,)))
        present[..., y : y + 20, x] = (present[..., y : y + 20, x] + 0.3).clamp(max=1)
    assert estimate_motion(past, present).abs().mean() < 0.15


def test_no_motion_leaves_the_picture_as_it_was() -> None:
    picture = torch.rand(2, 6, 16, 24)
    assert (warp(picture, torch.zeros(2, 16, 24, 2)) - picture).abs().max() < 1e-5


def test_smallest_picture() -> None:
    flow = estimate_motion(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8))
    assert flow.shape == (1, 8, 8, 2)
    assert torch.isfinite(flow).all()
