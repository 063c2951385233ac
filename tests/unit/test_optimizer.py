"""`training.optimizer`: which parameters Muon moves, how far, and that it learns where AdamW is slow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from esdnet.network import ESDNet, EsdnetConfig
from esdnet.streaming import StreamConfig, StreamNet
from training.optimizer import Muon, build_optimizer, orthogonal
from training.run_config import OptimConfig

SMALL = StreamConfig(dims=(8, 8, 8), encoder_blocks=(0, 0, 1), decoder_blocks=(0, 1))


@pytest.mark.parametrize("shape", [(8, 72), (40, 16), (16, 16)])
def test_singular_values_become_alike(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    left, _, right = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    values = torch.logspace(0, -1.5, min(shape))
    after = torch.linalg.svdvals(orthogonal(left @ torch.diag(values) @ right))
    assert float(after.min()) > 0.65
    assert float(after.max()) < 1.25


def test_no_gradient_no_step() -> None:
    assert not orthogonal(torch.zeros(4, 9)).any()


def names(network: nn.Module, muon: bool) -> set[str]:
    optimizer = build_optimizer(OptimConfig(muon=True), network)
    its = {id(p) for group in optimizer.param_groups if group["muon"] == muon for p in group["params"]}
    return {name for name, p in network.named_parameters() if id(p) in its}


def test_muon_moves_kernels_but_the_last() -> None:
    network = StreamNet(SMALL)
    moved, others = names(network, True), names(network, False)
    assert "stem.weight" in moved
    assert "encoder3.0.first.conv.weight" in moved
    assert all(name.endswith("weight") and "norm" not in name for name in moved)
    assert "head.weight" in others
    assert moved | others == {name for name, _ in network.named_parameters()}
    assert not moved & others


def test_a_kernel_of_one_channel_mixes_nothing_and_is_left_to_adamw() -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1))
    assert names(network, True) == {"1.weight"}


def test_the_papers_network_too() -> None:
    network = ESDNet(EsdnetConfig(dim=8))
    assert "patch_embed.proj.weight" in names(network, True)
    optimizer = build_optimizer(OptimConfig(muon=True), network)
    for p in network.parameters():
        p.grad = torch.ones_like(p)
    before = [p.detach().clone() for p in network.parameters()]
    optimizer.step()
    assert all(not torch.equal(p, old) for p, old in zip(network.parameters(), before, strict=True))


@pytest.mark.parametrize("shape", [(40, 40, 3, 3), (16, 40, 1, 1), (40, 16, 3, 3)])
def test_a_step_is_as_large_as_adamws(shape: tuple[int, ...]) -> None:
    """About 0.2 learning rates a weight, root mean square, whatever the size of the gradient."""
    kernel = nn.Parameter(torch.zeros(shape))
    optimizer = Muon([{"params": [kernel], "muon": True, "weight_decay": 0.0}], lr=1e-3)
    kernel.grad = 1e-6 * torch.randn(shape, generator=torch.Generator().manual_seed(2))
    optimizer.step()
    size = float(kernel.detach().square().mean().sqrt())
    assert 0.1e-3 < size < 0.25e-3


def test_it_decays_the_weights() -> None:
    kernel = nn.Parameter(torch.ones(4, 4, 1, 1))
    optimizer = Muon([{"params": [kernel], "muon": True, "weight_decay": 0.1}], lr=0.5)
    kernel.grad = torch.zeros_like(kernel)
    optimizer.step()
    assert torch.allclose(kernel, torch.full_like(kernel, 0.95))


def test_directions_of_small_gradients_are_learnt_as_fast() -> None:
    """Inputs that are much alike in all channels: AdamW looks at one weight at a time, and in none of them shows what
    is left to be learnt of the small differences."""
    generator = torch.Generator().manual_seed(3)
    aim = 0.3 * torch.randn((16, 16), generator=generator)
    turn = torch.linalg.qr(torch.randn((16, 16), generator=generator))[0]
    inputs = turn @ torch.diag(torch.logspace(0, -2, 16)) @ turn.T

    def left(muon: bool) -> float:
        kernel = nn.Parameter(torch.zeros(16, 16, 1, 1))
        optimizer = Muon([{"params": [kernel], "muon": muon, "weight_decay": 0.0}], lr=0.1)
        for step in range(200):
            optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 200)
            optimizer.zero_grad()
            error = (kernel.flatten(1) - aim) @ inputs
            error.square().sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return float((kernel.detach().flatten(1) - aim).square().mean().sqrt())

    assert left(True) < 0.2 * left(False)


def test_it_keeps_what_it_has_gathered() -> None:
    """Saved and taken up again it goes on as it would have."""

    def run(interrupted: bool) -> Tensor:
        network = StreamNet(SMALL)
        for p, number in zip(network.parameters(), range(1000), strict=False):
            nn.init.normal_(p, generator=torch.Generator().manual_seed(number))
        optimizer = build_optimizer(OptimConfig(muon=True), network)
        for step in range(4):
            if interrupted and step == 2:
                saved = optimizer.state_dict()
                optimizer = build_optimizer(OptimConfig(muon=True), network)
                optimizer.load_state_dict(saved)
            for p, number in zip(network.parameters(), range(1000), strict=False):
                p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(number * 10 + step))
            optimizer.step()
        return torch.cat([p.detach().flatten() for p in network.parameters()])

    assert torch.equal(run(True), run(False))
