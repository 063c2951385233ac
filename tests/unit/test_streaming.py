"""The streaming network: a pure step, its state, its cost."""

from dataclasses import replace

import pytest
import torch

from esdnet.errors import ModelError
from esdnet.firing import firing_rates
from esdnet.fold import fold_batch_norm
from esdnet.state import MembraneState
from esdnet.streaming import StreamConfig, StreamNet

SMALL = StreamConfig(dims=(8, 8, 16), encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1), seen=True)


def network(config: StreamConfig = SMALL, seed: int = 0) -> StreamNet:
    """Random weights and statistics, with a read-out that does something but keeps to the picture, or the past would
    not be trusted."""
    torch.manual_seed(seed)
    net = StreamNet(config)
    torch.nn.init.normal_(net.head.weight, std=0.001)
    torch.nn.init.kaiming_uniform_(net.stem.weight)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.2, 0.5)
    return net.eval()


def clip(frames: int, streams: int = 1, height: int = 16, width: int = 24, seed: int = 1) -> torch.Tensor:
    torch.manual_seed(seed)
    still = torch.rand(1, streams, 6, height, width) * 0.6
    return still + 0.03 * torch.rand(frames, streams, 6, height, width)


@torch.no_grad()
def run(net: StreamNet, frames: torch.Tensor, state: MembraneState) -> tuple[list[torch.Tensor], MembraneState]:
    out = []
    for frame in frames:
        picture, state = net.step(frame, state)
        out.append(picture)
    return out, state


def test_step_is_pure() -> None:
    net, frames = network(), clip(3)
    _, state = run(net, frames[:2], net.initial_state(1, 16, 24))
    before = {name: state[name].clone() for name in state}
    first, _ = net.step(frames[2], state)
    second, _ = net.step(frames[2], state)
    assert torch.equal(first, second)
    _, after = net.step(frame := frames[2].clone(), state)
    kept = {name: after[name].clone() for name in after}
    frame.zero_()  # as one who reads each frame into the same memory does
    assert all(torch.equal(kept[name], after[name]) for name in after)
    assert all(torch.equal(before[name], state[name]) for name in state)
    constants = ("running", "num_batches", "search.", "warp.")  # statistics, and kernels that nobody writes to
    assert all(any(part in name for part in constants) for name, _ in net.named_buffers())


def test_the_past_is_carried() -> None:
    net, frames = network(), clip(4)
    carried, state = run(net, frames, net.initial_state(1, 16, 24))
    alone, _ = net.step(frames[3], net.initial_state(1, 16, 24))
    assert not torch.allclose(carried[3], alone)
    assert torch.allclose(net.step(frames[3], state.reset())[0], alone)


@torch.no_grad()
def test_every_carried_membrane_is_used() -> None:
    net, frames = network(), clip(3)
    _, state = run(net, frames[:2], net.initial_state(1, 16, 24))
    expected, _ = net.step(frames[2], state)
    for name in state:
        charged = MembraneState({n: state[n] * 0.5 + 2 if n == name else state[n] for n in state})
        assert not torch.equal(net.step(frames[2], charged)[0], expected), name


@torch.no_grad()
def test_what_was_seen_tells_ground_laid_bare_from_a_streak() -> None:
    """Something dark that moved away left its shadow behind: brighter than the clean past looked like rain for ever.

    With the clean past alone, a bright place looks the same to the network whether it was bright a frame ago or not.
    """
    net, dark, bright = network(), torch.full((1, 6, 16, 24), 0.3), torch.full((1, 6, 16, 24), 0.33)
    _, state = run(net, dark[None], net.initial_state(1, 16, 24))
    lasting = MembraneState({name: bright[:, :4] if name == "seen" else state[name] for name in state})
    assert not torch.equal(net.step(bright, state)[0], net.step(bright, lasting)[0])


def test_names_and_shapes_of_the_state_stay_the_same() -> None:
    net = network()
    state = net.initial_state(2, 16, 24)
    _, after = net.step(clip(1, streams=2)[0], state)
    assert [(n, state[n].shape) for n in state] == [(n, after[n].shape) for n in after]


def test_streams_of_a_batch_do_not_touch_each_other() -> None:
    net, frames = network().double(), clip(3, streams=2).double()  # rounding must not decide over a spike
    together, state = run(net, frames, net.initial_state(2, 16, 24))
    for i, mine in enumerate(state.split()):
        single, single_state = run(net, frames[:, i : i + 1], net.initial_state(1, 16, 24))
        assert torch.allclose(together[2][i : i + 1], single[2], atol=1e-9)
        assert all(torch.allclose(mine[name], single_state[name], atol=1e-9) for name in mine)


def test_positional_form_for_export() -> None:
    net, frames = network(), clip(2)
    _, state = run(net, frames[:1], net.initial_state(1, 16, 24))
    expected, after = net.step(frames[1], state)
    picture, *tensors = net(frames[1], *state.tensors())
    assert torch.equal(picture, expected)
    assert all(torch.equal(a, b) for a, b in zip(tensors, after.tensors(), strict=True))


def test_folded_batch_norm_gives_the_same_frames() -> None:
    net = network().double()
    frames = clip(4).double()
    plain, _ = run(net, frames, net.initial_state(1, 16, 24))
    folded = fold_batch_norm(net)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    again, _ = run(folded, frames, folded.initial_state(1, 16, 24))
    assert max(float((a - b).abs().max()) for a, b in zip(plain, again, strict=True)) < 1e-9


def test_all_parameters_learn_through_time() -> None:
    net = network().train()
    state = net.initial_state(2, 16, 24)
    loss = torch.zeros(())
    for frame in clip(3, streams=2):
        picture, state = net.step(frame, state)
        loss = loss + (picture - 0.3).abs().mean()
    loss.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_where_the_past_does_not_fit_a_step_is_that_of_a_reset() -> None:
    """A camera that moved further than the alignment reaches cost 0.9 dB against forgetting everything."""
    net, frames = network(), clip(4)
    _, state = run(net, frames[:3], net.initial_state(1, 16, 24))
    elsewhere = 1 - frames[3]
    after, _ = net.step(elsewhere, state)
    alone, _ = net.step(elsewhere, state.reset())
    assert torch.allclose(after, alone, atol=1e-6)


def test_where_the_past_has_no_age_a_step_is_that_of_a_reset() -> None:
    """Streams that begin share a batch with others: what their memory holds then must not count, whatever it is."""
    net, frames = network(), clip(4, streams=2)
    _, state = run(net, frames[:3], net.initial_state(2, 16, 24))
    state["age"][1] = 0.0
    after, _ = net.step(frames[3], state)
    alone, _ = net.step(frames[3], state.reset())
    assert torch.allclose(after[1], alone[1], atol=1e-6)
    assert not torch.allclose(after[0], alone[0], atol=1e-3)


@pytest.mark.parametrize("without", ["trust", "align", "seen", "contrast", "carry_picture"])
def test_a_network_may_do_without(without: str) -> None:
    net, frames = network(replace(SMALL, **{without: False})), clip(4)
    pictures, state = run(net, frames, net.initial_state(1, 16, 24))
    alone, _ = net.step(frames[3], state.reset())
    assert torch.isfinite(pictures[3]).all()
    assert not torch.allclose(pictures[3], alone, atol=1e-4)  # it has a memory nevertheless


def test_a_new_network_ignores_the_past() -> None:
    """Single frames are learnt first; what they taught must hold where sequences begin."""
    torch.manual_seed(0)
    net, frames = StreamNet(SMALL).eval(), clip(3)
    _, state = run(net, frames[:2], net.initial_state(1, 16, 24))
    assert float(net.stem.weight[:, 6:13].detach().abs().max()) == 0
    after, _ = net.step(frames[2], state)
    alone, _ = net.step(frames[2], state.reset())
    assert (after - alone).abs().max().item() < 0.03


def test_without_carried_picture_there_is_no_picture_in_the_state() -> None:
    net = network(StreamConfig(dims=(8, 8, 8), encoder_blocks=(0, 1, 1), carry_picture=False, carried_levels=()))
    state = net.initial_state(1, 8, 8)
    assert len(state) == 0
    picture, _ = net.step(torch.rand(1, 6, 8, 8), state)
    assert picture.shape == (1, 6, 8, 8)


def test_firing_rates_are_reported_a_layer() -> None:
    net = network()
    with firing_rates(net) as rates:
        run(net, clip(2), net.initial_state(1, 16, 24))
    assert len(rates) == sum(getattr(m, "is_spiking", False) for m in net.modules())


@pytest.mark.parametrize("size", [(15, 24), (16, 22)])
def test_a_size_that_is_no_multiple_of_the_stride_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ModelError, match="pad the frame"):
        network().initial_state(1, *size)


def test_a_config_that_makes_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="three dims"):
        StreamConfig(dims=(8, 8))  # type: ignore[arg-type]
