"""The search for motion."""

import pytest
import torch
import torch.nn.functional as F

from esdnet.motion import CELL, MotionSearch
from esdnet.warp import Warp

SEARCH, WARP = MotionSearch(), Warp(CELL)


def texture(height: int, width: int) -> torch.Tensor:
    torch.manual_seed(3)
    coarse = torch.rand(1, 1, height // 8, width // 8)
    fine = torch.rand(1, 1, height // 2, width // 2)
    pictures = [F.interpolate(x, size=(height, width), mode="bicubic") for x in (coarse, fine)]
    return (0.6 * pictures[0] + 0.3 * pictures[1]).clamp(0, 1)


def rained_on(picture: torch.Tensor, streaks: int) -> torch.Tensor:
    torch.manual_seed(0)
    rainy = picture.clone()
    height, width = picture.shape[-2:]
    for x in torch.randint(0, width, (streaks,)).tolist():
        y = int(torch.randint(0, height - 20, (1,)))
        rainy[..., y : y + 20, x] += 0.3
    return rainy.clamp(max=1)


def found(past: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """A displacement for each pixel, (N, 2, H, W)."""
    return WARP.grow(SEARCH(past, present))[..., : past.shape[2], : past.shape[3]]


@pytest.mark.parametrize("streaks", [0, 40])
@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (-5, 2), (11, -7), (0, -14)])
def test_finds_a_pan(dx: int, dy: int, streaks: int) -> None:
    whole = texture(128, 160)
    past, clean = whole[..., 16:112, 16:144], whole[..., 16 + dy : 112 + dy, 16 + dx : 144 + dx]
    present = rained_on(clean, streaks)
    flow = found(past, present)
    inner = flow[..., 24:-24, 24:-24]
    near = 0.5 if streaks else 0.1
    assert (inner[:, 0] - dx).abs().median() < near
    assert (inner[:, 1] - dy).abs().median() < near
    stayed = ((past - clean) ** 2)[..., 24:-24, 24:-24].mean()
    warped = ((WARP(past, SEARCH(past, present)) - clean) ** 2)[..., 24:-24, 24:-24].mean()
    assert warped < (0.1 if streaks else 0.02) * stayed


def test_finds_parts_of_a_pixel() -> None:
    """What the search before could not: it came no nearer than a fifth of a pixel, and so each frame's warp took the
    edge off what the membranes held."""
    whole = texture(192, 320)
    coarse = F.avg_pool2d(whole, 2)
    moved = F.avg_pool2d(F.pad(whole, (0, 1, 0, 0), mode="replicate")[..., 1:], 2)  # by half a pixel of `coarse`
    inner = found(coarse, moved)[..., 16:-16, 16:-16]
    assert abs(float(inner[:, 0].median()) - 0.5) < 0.05
    assert inner[:, 1].abs().median() < 0.05


def test_two_things_that_move_apart_keep_their_own_motion() -> None:
    whole = texture(128, 192)
    past = whole[..., :96, 16:144]
    present = torch.cat([whole[..., :96, 20:84], whole[..., :96, 76:140]], dim=-1)  # 4 to one side, 4 to the other
    flow = found(past, present)[:, 0, 16:-16]
    assert (flow[..., 12:48] - 4).abs().median() < 0.1
    assert (flow[..., 80:-12] + 4).abs().median() < 0.1


def test_rain_does_not_move_a_still_picture() -> None:
    past = texture(96, 128)
    assert SEARCH(past, rained_on(past, 30)).abs().mean() < 0.15


def test_light_that_changes_moves_nothing() -> None:
    """Patches are compared by what varies in them: a lamp that goes on, or mist, is no motion."""
    past = texture(96, 128) * 0.8
    assert SEARCH(past, past + 0.1).abs().max() < 1e-3


@pytest.mark.parametrize("size", [(8, 8), (12, 20), (36, 100)])
def test_any_size(size: tuple[int, int]) -> None:
    flow = SEARCH(torch.rand(2, 1, *size), torch.rand(2, 1, *size))
    assert flow.shape == (2, 2, size[0] // CELL, size[1] // CELL)
    assert torch.isfinite(flow).all()


def test_flat_pictures_do_not_move() -> None:
    flow = SEARCH(torch.full((1, 1, 32, 32), 0.3), torch.full((1, 1, 32, 32), 0.6))
    assert flow.abs().max() == 0


@pytest.mark.parametrize("size", [(8, 8), (64, 64), (92, 160)])
def test_streams_do_not_see_each_other(size: tuple[int, int]) -> None:
    torch.manual_seed(1)
    past, present = torch.rand(2, 3, 1, *size)
    together = SEARCH(past, present)
    for index in range(3):
        alone = SEARCH(past[index : index + 1], present[index : index + 1])
        assert torch.equal(together[index : index + 1], alone)
