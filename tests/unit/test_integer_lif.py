"""Integer LIF neurons against steps worked out by hand."""

import torch

from esdnet.integer_lif import IntegerLIF, integer_spikes


def neuron(*, carried: bool = True, leak: float = 0.5, levels: int = 4) -> IntegerLIF:
    return IntegerLIF(1, levels=levels, carried=carried, leak=leak)


def step(unit: IntegerLIF, current: float, potential: float) -> tuple[float, float]:
    spikes, after = unit(torch.full((1, 1, 1, 1), current), torch.full((1, 1, 1, 1), potential))
    assert after is not None
    return float(spikes.detach()), float(after.detach())


def test_charge_fire_and_soft_reset() -> None:
    spikes, after = step(neuron(), current=2.0, potential=1.0)  # h = 0.5·1 + 2 = 2.5, rounds to even: 2
    assert (spikes, after) == (2.0, 0.5)


def test_what_could_not_be_fired_stays_on_the_membrane() -> None:
    assert step(neuron(), current=9.0, potential=0.0) == (4.0, 5.0)


def test_a_negative_current_silences_and_is_remembered() -> None:
    assert step(neuron(), current=-2.0, potential=0.0) == (0.0, -2.0)
    assert step(neuron(), current=1.0, potential=-2.0) == (0.0, 0.0)


def test_threshold_scales_what_a_spike_costs() -> None:
    unit = neuron()
    torch.nn.init.constant_(unit.log_threshold, float(torch.log(torch.tensor(2.0))))
    spikes, after = step(unit, current=4.5, potential=0.0)
    assert spikes == 2.0
    assert abs(after - 0.5) < 1e-6


def test_a_neuron_that_is_not_carried_has_no_membrane() -> None:
    spikes, after = neuron(carried=False)(torch.full((1, 1, 1, 1), 1.2), None)
    assert float(spikes.detach()) == 1.0
    assert after is None


def test_gradients_pass_where_the_neuron_could_fire_and_nowhere_else() -> None:
    drive = torch.tensor([-1.0, -0.4, 0.3, 4.4, 5.0], requires_grad=True)
    integer_spikes(drive, 4).sum().backward()
    assert drive.grad is not None
    assert drive.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


def test_leak_and_threshold_are_learnt() -> None:
    unit = neuron()
    spikes, after = unit(torch.full((1, 1, 1, 1), 1.3), torch.full((1, 1, 1, 1), 0.8))
    (spikes + 2 * after).sum().backward()
    for parameter in unit.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0
