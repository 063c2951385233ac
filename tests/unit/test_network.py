"""The paper's network beyond parity: sizes, batches, initial weights, gradients."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F

from esdnet.blocks import SpikingResidualBlock, ThresholdDependentBatchNorm2d
from esdnet.errors import ModelError
from esdnet.network import ESDNet, EsdnetConfig

SMALL = EsdnetConfig(dim=4, encoder_blocks=(1, 1, 1), level3_decoder_blocks=1, decoder_blocks=(1, 1), time_steps=4)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads cost far more than they bring on pictures this small, above all where other work keeps the cores busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def network() -> ESDNet:
    torch.manual_seed(0)
    return ESDNet(SMALL).double().eval()


def pictures(*shape: int) -> torch.Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (3, 2), (4, 4), (5, 7), (16, 16), (18, 35)])
@torch.no_grad()
def test_any_size_comes_out_as_it_went_in(network: ESDNet, size: tuple[int, int]) -> None:
    derained = network(pictures(2, 3, *size))
    assert derained.shape == (2, 3, *size)
    assert derained.isfinite().all()


@torch.no_grad()
def test_padding_mirrors_and_is_cut_off_again(network: ESDNet) -> None:
    rainy = pictures(1, 3, 14, 11)
    mirrored = F.pad(rainy, (0, 1, 0, 2), mode="reflect")
    assert torch.equal(network(rainy), network(mirrored)[:, :, :14, :11])


@torch.no_grad()
def test_each_picture_of_a_batch_is_derained_by_itself(network: ESDNet) -> None:
    rainy = pictures(3, 3, 8, 12)
    together = network(rainy)
    alone = torch.cat([network(picture) for picture in rainy.unsqueeze(1)])
    assert (together - alone).abs().max() < 1e-12
    assert torch.equal(network(rainy), together)  # nothing is kept from one call to the next


@torch.no_grad()
def test_input_is_cast_to_the_weights(network: ESDNet) -> None:
    rainy = pictures(1, 3, 8, 8)
    assert network.float()(rainy).dtype == torch.float32
    assert torch.equal(network(rainy), network(rainy.float()))


@pytest.mark.parametrize(
    "wrong",
    [torch.rand(3, 8, 8), torch.rand(1, 1, 8, 8), torch.rand(1, 3, 0, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)],
)
def test_other_input_is_refused(network: ESDNet, wrong: torch.Tensor) -> None:
    with pytest.raises(ModelError, match=r"RGB pictures \(N, 3, H, W\)"):
        network(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"dim": 0},
        {"dim": "48"},
        {"dim": 10**9},
        {"time_steps": 0},
        {"encoder_blocks": (1, 2)},
        {"decoder_blocks": (1, -1)},
    ],
)
def test_numbers_that_make_no_network_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="ESDNet"):
        EsdnetConfig(**wrong)  # type: ignore[arg-type]


def test_full_size_is_the_papers() -> None:
    with torch.device("meta"):
        network = ESDNet()
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == 12.81
    assert json.loads(json.dumps(dataclasses.asdict(network.config))) == {
        "dim": 48,
        "encoder_blocks": [4, 4, 8],
        "level3_decoder_blocks": 2,
        "decoder_blocks": [2, 2],
        "time_steps": 4,
    }


def test_tdbn_begins_at_the_threshold() -> None:
    alpha, threshold = 0.5**0.5, 0.15
    block = SpikingResidualBlock(channels=4, time_steps=4)
    norms = [m for m in block.modules() if isinstance(m, ThresholdDependentBatchNorm2d)]
    expected = [alpha * threshold, alpha * 0.2 * threshold, alpha * threshold]  # residual, residual, shortcut
    assert [n.weight.mean().item() for n in norms] == pytest.approx(expected)
    assert all(n.bias.eq(0).all() for n in norms)


def test_tdbn_normalizes_over_time_and_batch() -> None:
    norm = ThresholdDependentBatchNorm2d(2, v_threshold=1.0).double()
    y = norm(5 + 3 * torch.randn(4, 3, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    assert y.mean(dim=(0, 1, 3, 4)).tolist() == pytest.approx([0, 0], abs=1e-9)
    assert y.std(dim=(0, 1, 3, 4), correction=0).tolist() == pytest.approx([0.5**0.5] * 2, rel=1e-5)
    assert y[0].mean().abs() > 1e-3  # not each step by itself


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    network = ESDNet(dataclasses.replace(SMALL, dim=16)).train()
    for name, parameter in network.named_parameters():
        # One hidden unit a time attention: with negative weights its ReLU may be shut, and rightly learn nothing.
        if "sharedMLP" in name:
            parameter.data.abs_()
    torch.autograd.backward(network(torch.rand(2, 3, 16, 16)).square().sum())
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


def test_training_brings_the_loss_down() -> None:
    torch.manual_seed(0)
    network = ESDNet(SMALL).train()
    clean = torch.rand(2, 3, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    rainy = (clean + 0.3 * (torch.rand(2, 1, 1, 16) > 0.7)).clamp(0, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(40):
        loss = F.mse_loss(network(rainy), clean)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-5:]) < 0.7 * F.mse_loss(rainy, clean).item()
