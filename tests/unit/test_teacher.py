"""A teacher's pictures as part of what is to be learnt: which part, its membranes, what cannot teach."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

import esdnet
from esdnet.checkpoint import save
from esdnet.network import ESDNet, EsdnetConfig
from esdnet.streaming import StreamNet
from training.distributed import Ranks
from training.packed_clips import DataError
from training.run_config import RunConfig
from training.teacher import Teacher, without
from training.train import build_task
from training.unrolled import run_window
from training.windows import Window

CPU = torch.device("cpu")
ALONE = Ranks(0, 1, CPU)


def run(**teacher: object) -> RunConfig:
    data = {"stills": [{"path": "stills"}], "crop": 32, "window": 2, "batch": 2}
    return RunConfig.model_validate({"name": "taught", "data": data, "teacher": {"model": "stream-nano", **teacher}})


def teacher(settings: RunConfig) -> Teacher:
    assert settings.teacher
    return Teacher(settings.teacher, settings, ALONE)


@pytest.fixture
def windows() -> list[Window]:
    """Two windows of the same two streams."""
    dice = torch.Generator().manual_seed(4)
    frames = [torch.randint(16, 236, (2, 2, 6, 16, 16), generator=dice, dtype=torch.uint8) for _ in range(4)]
    fresh = (torch.tensor([True, True]), torch.tensor([False, False]))
    return [Window(rainy, clean, new) for rainy, clean, new in zip(frames[:2], frames[2:], fresh, strict=True)]


NEVER = torch.zeros(2, 2, dtype=torch.bool)


def clean_of(window: Window) -> Tensor:
    network = esdnet.load("stream-nano")
    assert isinstance(network, StreamNet)
    return run_window(network, window, network.initial_state(2, 16, 16), CPU)[1]


@torch.no_grad()
def test_the_target_is_so_much_of_what_the_teacher_sees(windows: list[Window]) -> None:
    """Its membranes go from window to window, as those of the network that learns."""
    network = esdnet.load("stream-nano")
    assert isinstance(network, StreamNet)
    state, half, all_of_it = network.initial_state(2, 16, 16), teacher(run(share=0.5)), teacher(run(share=1.0))
    for window in windows:
        seen, clean, _, state = run_window(network, window, state, CPU, NEVER)
        assert torch.allclose(all_of_it.target(window, clean, NEVER, 0), seen, atol=1e-5)
        assert torch.allclose(half.target(window, clean, NEVER, 0), (seen + clean) / 2, atol=1e-5)


def test_what_it_carries_goes_on_in_a_resumed_run(windows: list[Window]) -> None:
    whole, resumed = teacher(run()), teacher(run())
    clean = clean_of(windows[0])
    whole.target(windows[0], clean, NEVER, 0)
    carried = [one | {"picture": torch.zeros(1)} for one in whole.carried()]  # beside the learner's own
    assert list(without(carried[0])) == ["picture"]
    resumed.carry_on(carried)
    assert torch.equal(resumed.target(windows[1], clean, NEVER, 0), whole.target(windows[1], clean, NEVER, 0))


def test_a_run_that_had_no_teacher_is_not_gone_on_with_under_one() -> None:
    with pytest.raises(DataError, match="without this teacher"):
        teacher(run()).carry_on([{"picture": torch.zeros(2, 6, 16, 16)}])


def test_nor_one_that_had_another(tmp_path: Path) -> None:
    """Of the same layers, but narrower."""
    network = esdnet.load("stream-nano")
    assert isinstance(network, StreamNet)
    save(StreamNet(dataclasses.replace(network.config, dims=(4, 4, 4))), tmp_path / "other.safetensors", {})
    carried = teacher(run(model=str(tmp_path / "other.safetensors"))).carried()
    with pytest.raises(DataError, match="without this teacher"):
        teacher(run()).carry_on(carried)


def test_a_network_for_pictures_teaches_no_stream(tmp_path: Path) -> None:
    save(ESDNet(EsdnetConfig(dim=4, encoder_blocks=(1, 1, 1), time_steps=1)), tmp_path / "pictures.safetensors", {})
    with pytest.raises(DataError, match="single pictures"):
        teacher(run(model=str(tmp_path / "pictures.safetensors")))


def test_a_network_for_pictures_has_no_teacher() -> None:
    """Told by the network, not by the file: one that begins from such weights need not name their kind, and its teacher
    was left out without a word."""
    with pytest.raises(DataError, match="not for kind esdnet"):
        build_task(run(), ESDNet(EsdnetConfig(dim=4, encoder_blocks=(1, 1, 1), time_steps=1)), ALONE)
