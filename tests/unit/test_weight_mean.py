"""`derain mean`: weights of one network mixed by share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import esdnet
from esdnet.checkpoint import read_metadata, save
from esdnet.integer_weights import integers_of
from esdnet.streaming import StreamConfig, StreamNet
from pipeline.cli import app
from training.checkpoints import WeightAverage, save_checkpoint
from training.errors import TrainingError
from training.weight_mean import mean_of_weights, read_share

SMALL = StreamConfig(dims=(4, 6, 8), encoder_blocks=(0, 1, 1))


def network(seed: int, config: StreamConfig = SMALL) -> StreamNet:
    torch.manual_seed(seed)
    made = StreamNet(config)
    for tensor in made.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(0.1 * torch.rand_like(tensor))
    return made


def kept(path: Path, seed: int, config: StreamConfig = SMALL) -> str:
    save(network(seed, config), path)
    return str(path)


def test_every_weight_is_the_mean_by_share(tmp_path: Path) -> None:
    a, b = kept(tmp_path / "a.safetensors", 1), kept(tmp_path / "b.safetensors", 2)
    mixed = mean_of_weights([(3.0, a), (1.0, b)])
    assert isinstance(mixed, StreamNet)
    ones, others = network(1).state_dict(), network(2).state_dict()
    for name, tensor in mixed.state_dict().items():
        if tensor.is_floating_point():
            meant = 0.75 * ones[name] + 0.25 * others[name]
            step = 0.0
            if name.endswith(".conv.weight"):  # of a spiking convolution: on its grid
                assert integers_of(tensor) is not None
                step = 0.5 / 127 * float(meant.abs().max()) * 1.001
            torch.testing.assert_close(tensor, meant, atol=step + 1e-6, rtol=0)


def test_a_network_that_began_with_other_thresholds_is_the_same_network(tmp_path: Path) -> None:
    """What is shipped says 0.5 and what is trained on from it 0.25: nothing of the network depends on it any more."""
    a = kept(tmp_path / "a.safetensors", 1)
    b = kept(tmp_path / "b.safetensors", 2, StreamConfig(dims=(4, 6, 8), encoder_blocks=(0, 1, 1), threshold=0.25))
    mean_of_weights([(1.0, a), (1.0, b)])


def test_a_run_gives_its_averaged_weights_before_they_were_rounded(tmp_path: Path) -> None:
    run, trained = tmp_path / "run", network(1)
    others = dict.fromkeys(("network", "weights", "optimizer", "state", "step"), 0)
    save_checkpoint(run, others | {"average": WeightAverage(trained, 0.9).state_dict()})
    kept(run / "average.safetensors", 2)  # only its shape counts
    mixed = mean_of_weights([(1.0, str(run))])
    torch.testing.assert_close(mixed.state_dict()["stem.weight"], trained.state_dict()["stem.weight"])


def test_another_network_is_refused(tmp_path: Path) -> None:
    a = kept(tmp_path / "a.safetensors", 1)
    wider = kept(tmp_path / "b.safetensors", 2, StreamConfig(dims=(4, 6, 10), encoder_blocks=(0, 1, 1)))
    otherwise = kept(tmp_path / "c.safetensors", 2, StreamConfig(dims=(4, 6, 8), encoder_blocks=(0, 1, 1), trust=False))
    for other in (wider, otherwise):
        with pytest.raises(TrainingError, match="another network"):
            mean_of_weights([(1.0, a), (1.0, other)])
    with pytest.raises(TrainingError, match="holds no run"):
        mean_of_weights([(1.0, a), (1.0, str(tmp_path))])


@pytest.mark.parametrize("text", ["runs/mine", "0.5:", "half:stream", "-1:stream", "0:stream", "nan:stream"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(TrainingError, match="a share and weights are meant"):
        read_share(text)


def test_the_command_writes_what_the_others_take(tmp_path: Path) -> None:
    out = tmp_path / "mixed.safetensors"
    arguments = ["mean", str(out), "0.6:stream-nano", f"0.4:{esdnet.models.weights('stream-nano')}"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert done.output.strip() == str(out)
    assert read_metadata(out)["mean"].startswith("0.6:stream-nano + 0.4:")
    mixed, whole = esdnet.load(str(out)).state_dict(), esdnet.load("stream-nano").state_dict()
    for name, tensor in mixed.items():
        torch.testing.assert_close(tensor, whole[name], atol=1e-5, rtol=1e-5)
    before = out.read_bytes()
    assert CliRunner().invoke(app, arguments).exit_code == 1
    assert out.read_bytes() == before
    assert CliRunner().invoke(app, [*arguments, "--overwrite"]).exit_code == 0
