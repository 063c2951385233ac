"""LIF neurons: what they do step by step, and that they can be trained."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from esdnet.errors import ModelError
from esdnet.neuron import LIF, SURROGATES, atan_spike, lif_step, rectangle_spike, sigmoid_spike, spike_function


def test_lif_follows_a_sequence_computed_by_hand() -> None:
    # tau 2, threshold 1:   h = v / 2 + x; fires where h >= 1 and falls back to 0
    currents = torch.tensor([0.5, 0.5, 0.625, 0.0, -0.5, 1.25, 0.999], dtype=torch.float64)
    #                   h:    0.5  0.75  1.0    0.0  -0.5  1.0   0.999
    expected_spikes = [0, 0, 1, 0, 0, 1, 0]
    expected_potentials = [0.5, 0.75, 0.0, 0.0, -0.5, 0.0, 0.999]
    potential = torch.zeros((), dtype=torch.float64)
    for current, spike, after in zip(currents, expected_spikes, expected_potentials, strict=True):
        fired, potential = lif_step(current, potential, tau=2.0, v_threshold=1.0)
        assert (fired.item(), potential.item()) == (spike, after)
    assert LIF(v_threshold=1.0)(currents).tolist() == expected_spikes


def test_leak_follows_tau() -> None:
    _, potential = lif_step(torch.tensor(0.0), torch.tensor(0.1), tau=4.0)
    assert potential.item() == pytest.approx(0.075)


def test_a_potential_at_the_threshold_fires() -> None:
    threshold = torch.full((1,), 0.15)
    below = torch.nextafter(threshold, torch.zeros(1))
    assert LIF(v_threshold=0.15)(torch.stack([threshold])).item() == 1
    assert LIF(v_threshold=0.15)(torch.stack([below])).item() == 0


def test_step_leaves_its_arguments_alone_and_module_keeps_nothing() -> None:
    current, potential = torch.full((3,), 0.1), torch.full((3,), 0.1)
    lif_step(current, potential)
    assert current.tolist() == pytest.approx([0.1] * 3)
    assert potential.tolist() == pytest.approx([0.1] * 3)
    layer, currents = LIF(), torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(layer(currents), layer(currents))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_spikes_keep_shape_and_dtype(dtype: torch.dtype) -> None:
    spikes = LIF()(torch.randn(3, 1, 2, 4, 5).to(dtype))
    assert spikes.dtype == dtype
    assert spikes.shape == (3, 1, 2, 4, 5)
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}


def logistic_slope(x: float) -> float:
    return 4 * (1 / (1 + math.exp(-4 * x))) * (1 - 1 / (1 + math.exp(-4 * x)))


@pytest.mark.parametrize(
    ("spike", "slope"),
    [
        (sigmoid_spike, logistic_slope),
        (atan_spike, lambda x: 1 / (1 + (math.pi * x) ** 2)),
        (rectangle_spike, lambda x: float(abs(x) < 0.5)),
    ],
)
def test_surrogates_step_forwards_and_slope_backwards(spike: object, slope: object) -> None:
    x = torch.tensor([-2.0, -0.3, 0.0, 0.2, 0.7], dtype=torch.float64, requires_grad=True)
    spikes = spike(x)  # type: ignore[operator]
    spikes.backward(torch.full_like(x, 2.0))
    assert spikes.tolist() == [0, 0, 1, 1, 1]
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx([2 * slope(v) for v in x.tolist()])  # type: ignore[operator]


def test_spikes_are_the_same_with_and_without_a_gradient() -> None:
    x = torch.randn(100, generator=torch.Generator().manual_seed(1))
    for spike in SURROGATES.values():
        with torch.no_grad():
            plain = spike(x)
        assert torch.equal(plain, spike(x.clone().requires_grad_()))


def gradients(detach_reset: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Of the last potential after two steps, the first of which fires, by its current, by tau and by the threshold."""
    currents = torch.tensor([0.2, 0.05], dtype=torch.float64, requires_grad=True)
    tau = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    threshold = torch.tensor(0.15, dtype=torch.float64, requires_grad=True)
    potential = torch.full((), 0.02, dtype=torch.float64)
    for current in currents:
        _, potential = lif_step(
            current, potential, tau=tau, v_threshold=threshold, detach_reset=detach_reset, spike=rectangle_spike
        )
    by_current, by_tau, by_threshold = torch.autograd.grad(potential, (currents, tau, threshold), allow_unused=True)
    return by_current, by_tau, by_threshold


def test_gradient_through_time_by_hand() -> None:
    # step 1: h1 = 0.01 + 0.2 fires, v1 = h1 (1 - s1) = 0;  step 2: h2 = 0.05 stays, v2 = h2 (1 - s2)
    # with the rectangle's slope 1:  dv1/dh1 = (1 - s1) - h1 = -0.21;  dv2/dh2 = 1 - h2 = 0.95
    by_current, by_tau, by_threshold = gradients(detach_reset=False)
    assert by_current.tolist() == pytest.approx([0.95 * 0.5 * -0.21, 0.95])
    assert by_tau.item() == pytest.approx(0.95 * (0.0 / 4 + 0.5 * -0.21 * 0.02 / 4))
    assert by_threshold.item() == pytest.approx(0.05 + 0.95 * 0.5 * 0.21)


def test_detached_reset_passes_no_gradient() -> None:
    by_current, _, by_threshold = gradients(detach_reset=True)
    assert by_current.tolist() == [0.0, 1.0]
    assert by_threshold is None


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ModelError, match="sigmoid, atan, rectangle"):
        LIF(surrogate="steep")
    with pytest.raises(ModelError, match="tau 1"):
        LIF(tau=1)
    with pytest.raises(ModelError, match="threshold 0"):
        LIF(v_threshold=0)
    assert spike_function("atan") is atan_spike
