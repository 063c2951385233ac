"""Weights on disk: what is written comes back, and what is not ours is refused by name."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from esdnet import checkpoint
from esdnet.errors import ModelError
from esdnet.network import ESDNet, EsdnetConfig
from esdnet.streaming import StreamConfig, StreamNet

Weights = dict[str, torch.Tensor]
TINY = EsdnetConfig(8, (1, 1, 1), 1, (1, 1), 4)


def equal(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture
def network() -> ESDNet:
    torch.manual_seed(0)
    return ESDNet(TINY).eval()


@pytest.fixture
def weights(network: ESDNet) -> Weights:
    return checkpoint.export_official(network)


def prefixed(weights: Weights, prefix: str = "module.") -> Weights:
    return {prefix + name: tensor for name, tensor in weights.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: w,
        lambda w: prefixed(w),
        lambda w: prefixed(w, "module._orig_mod."),
        lambda w: {"state_dict": w, "epoch": 3, "optimizer": {"state": {}}},
        lambda w: {"state_dict": prefixed(w), "epoch": 3},
        lambda w: {"params": w},
        lambda w: {"params": {"wrong": torch.zeros(1)}, "params_ema": w},
        lambda w: {"model": {"state_dict": w}},
        lambda w: {**w, "total_ops": torch.zeros(1), "down1_2.total_params": torch.zeros(1)},
    ],
)
def test_official_checkpoints_come_in_many_wrappers(
    network: ESDNet, weights: Weights, tmp_path: Path, wrap: Callable[[Weights], Any]
) -> None:
    torch.save(wrap(weights), tmp_path / "official.pth")
    imported = checkpoint.import_official(tmp_path / "official.pth")
    assert equal(imported, network)
    assert not imported.training


@pytest.mark.parametrize(
    "config",
    [
        EsdnetConfig(8, (2, 1, 3), 1, (1, 2), 2),
        EsdnetConfig(16, (1, 1, 1), 2, (2, 1), 8),
        EsdnetConfig(6, (1, 2, 1), 1, (1, 1), 1),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_official_layout_round_trips_at_any_width_and_depth(config: EsdnetConfig, legacy: bool, tmp_path: Path) -> None:
    network = ESDNet(config).eval()
    path = tmp_path / "official.pth"
    torch.save(checkpoint.export_official(network), path, _use_new_zipfile_serialization=not legacy)
    imported = checkpoint.load(path)  # by content, whatever its kind
    assert isinstance(imported, ESDNet)
    assert imported.config == config
    assert equal(imported, network)


def test_export_is_a_copy(network: ESDNet) -> None:
    checkpoint.export_official(network)["output.0.bias"].fill_(9)
    assert not network.output[0].bias.eq(9).any()  # type: ignore[operator]


@pytest.mark.parametrize(("stored", "loaded"), [(torch.float16, torch.float32), (torch.float64, torch.float64)])
def test_precision_of_the_file_is_not_lost(
    network: ESDNet, tmp_path: Path, stored: torch.dtype, loaded: torch.dtype
) -> None:
    torch.save(checkpoint.export_official(network.to(stored)), tmp_path / "w.pth")
    imported = checkpoint.import_official(tmp_path / "w.pth")
    assert imported.output[0].weight.dtype == loaded
    assert equal(imported, network.to(loaded))


@pytest.mark.parametrize("make", [lambda: ESDNet(TINY), lambda: StreamNet(StreamConfig(dims=(8, 12, 16)))])
def test_safetensors_round_trip_with_metadata(tmp_path: Path, make: Callable[[], ESDNet | StreamNet]) -> None:
    network, path = make(), tmp_path / "w.safetensors"
    checkpoint.save(network, path, {"licence": "CC BY 4.0", "note": "été"})
    loaded: Any = checkpoint.load(path)
    assert type(loaded) is type(network)
    assert loaded.config == network.config
    assert equal(loaded, network)
    assert not loaded.training
    metadata = checkpoint.read_metadata(path)
    assert (metadata["licence"], metadata["note"]) == ("CC BY 4.0", "été")
    assert metadata["architecture"] == type(network).__name__


def test_save_replaces_the_file_whole(network: ESDNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    checkpoint.save(network, path)
    before = path.read_bytes()

    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(ModelError, match="No space left"):
            checkpoint.save(ESDNet(TINY), path)
    assert path.read_bytes() == before
    checkpoint.save(network, path, {"again": "yes"})
    assert checkpoint.read_metadata(path)["again"] == "yes"
    assert list(tmp_path.iterdir()) == [path]


def test_save_says_what_it_cannot_write(network: ESDNet, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot write weights .*No such file"):
        checkpoint.save(network, tmp_path / "nowhere" / "w.safetensors")
    with pytest.raises(ModelError, match="named config"):
        checkpoint.save(network, tmp_path / "w.safetensors", {"config": "mine"})
    with pytest.raises(ModelError, match="cannot save a Linear"):
        checkpoint.save(nn.Linear(1, 1), tmp_path / "w.safetensors")


class Bomb:
    """Runs code when unpickled carelessly."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("read", [checkpoint.load, checkpoint.import_official])
def test_files_that_are_no_checkpoints(weights: Weights, tmp_path: Path, read: Callable[[Path], nn.Module]) -> None:
    torch.save(weights, tmp_path / "whole.pth")
    data = (tmp_path / "whole.pth").read_bytes()
    torch.save(nn.Linear(1, 1), tmp_path / "module.pth")
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.pth").write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "cut.pth").write_bytes(data[: len(data) // 2])
    (tmp_path / "bomb.pth").write_bytes(pickle.dumps(Bomb(str(tmp_path / "exploded")), protocol=2))
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({}, tmp_path / "nothing.pth")
    torch.save({"epoch": 3}, tmp_path / "epoch.pth")
    recursive: dict[str, Any] = {}
    recursive["model"] = recursive
    torch.save(recursive, tmp_path / "recursive.pth")
    for path in [*tmp_path.glob("*.pth"), tmp_path / "missing.pth", tmp_path]:
        if path.name == "whole.pth":
            continue
        with pytest.raises(ModelError, match=str(path)) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "exploded").exists()


def without(weights: Weights, *names: str) -> Weights:
    return {name: tensor for name, tensor in weights.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {"conv1.weight": torch.zeros(64, 3, 7, 7)}, "no convolution patch_embed.proj.weight"),
        (lambda w: without(w, "output.0.bias"), "missing: output.0.bias"),
        (lambda w: {n: t for n, t in w.items() if "level2" not in n}, r"missing: .* and \d+ more"),
        (lambda w: {n: t for n, t in w.items() if ".ta." not in n}, "missing: .*ta.sharedMLP"),
        (lambda w: w | {"extra.weight": torch.zeros(1)}, "unexpected: extra.weight"),
        (lambda w: w | {"encoder_level1.2.attn.sa.conv.weight": torch.zeros(1, 2, 3, 3)}, "missing: encoder_level1.1"),
        (
            lambda w: w | {"output.0.weight": torch.zeros(4, 16, 3, 3)},
            "output.0.weight is 4×16×3×3 instead of 3×16×3×3",
        ),
        (lambda w: w | {"encoder_level1.9999.x": torch.zeros(1)}, "block count"),
        (lambda w: w | {"output.0.bias": torch.full((3,), torch.nan)}, "not finite .*output.0.bias"),
        (lambda w: w | {"output.0.bias": torch.zeros(3, dtype=torch.int8)}, "number type torch.int8 of output.0.bias"),
        (lambda w: w | {"output.0.bias": "none"}, "not a tensor: output.0.bias"),
        (lambda w: w | {"output.0.bias": torch.zeros(3).to_sparse()}, "weights"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    weights: Weights, tmp_path: Path, change: Callable[[Weights], Any], message: str
) -> None:
    torch.save(change(weights), tmp_path / "other.pth")
    with pytest.raises(ModelError, match=message) as caught:
        checkpoint.import_official(tmp_path / "other.pth")
    assert str(tmp_path / "other.pth") in str(caught.value)


CONFIG = {"dim": 8, "encoder_blocks": [1, 1, 1], "level3_decoder_blocks": 1, "decoder_blocks": [1, 1], "time_steps": 4}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "do not say of which network"),
        ({"format": "pt"}, "do not say of which network"),
        ({"architecture": "ResNet", "config": "{}"}, "are of 'ResNet': only ESDNet, StreamNet"),
        ({"architecture": "ESDNet"}, "config in .* makes no ESDNet"),
        ({"architecture": "ESDNet", "config": "[]"}, "not a JSON object"),
        ({"architecture": "ESDNet", "config": json.dumps(CONFIG | {"colour": 1})}, "colour"),
        ({"architecture": "ESDNet", "config": json.dumps(CONFIG | {"encoder_blocks": 1})}, "makes no ESDNet"),
        ({"architecture": "ESDNet", "config": json.dumps(CONFIG | {"dim": 10**12})}, "dim must be .* to 1024"),
        ({"architecture": "ESDNet", "config": json.dumps(CONFIG | {"dim": 1024})}, "wrong size: patch_embed"),
        (
            {"architecture": "ESDNet", "config": json.dumps(CONFIG | {"decoder_blocks": [1, 2]})},
            "missing: decoder_level1.1",
        ),
        ({"architecture": "StreamNet", "config": "{}"}, "missing: .*unexpected: "),
        ({"architecture": "StreamNet", "config": '{"dims": [1000000000000, 1, 1]}'}, "dims must be .* to 1024"),
        ({"architecture": "StreamNet", "config": '{"dims": [8, 8, -1]}'}, "dims must be"),
        (
            {"architecture": "StreamNet", "config": '{"encoder_blocks": [0, 0, 4000]}'},
            "encoder_blocks must be .* to 64",
        ),
        ({"architecture": "StreamNet", "config": '{"spike_levels": 1%s}' % ("0" * 400)}, "very many digits"),
        ({"architecture": "StreamNet", "config": '{"threshold": NaN}'}, "threshold must be"),
        ({"architecture": "StreamNet", "config": '{"threshold": 1e300}'}, "threshold must be"),
        ({"architecture": "StreamNet", "config": '{"carried_levels": [%s1]}' % ("1, " * 99)}, "lists 100 numbers"),
        ({"architecture": "StreamNet", "config": '{"dims": {"a": 1}}'}, "neither a number nor"),
    ],
)
def test_safetensors_of_others_are_refused(
    weights: Weights, tmp_path: Path, metadata: dict[str, str] | None, message: str
) -> None:
    save_file(weights, tmp_path / "w.safetensors", metadata)
    with pytest.raises(ModelError, match=message) as caught:
        checkpoint.load(tmp_path / "w.safetensors")
    assert str(tmp_path / "w.safetensors") in str(caught.value)


def test_damaged_safetensors(network: ESDNet, weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    checkpoint.save(network, path)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:12], whole[:-1], whole[:9] + b"\xff" * 40 + whole[49:]):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match="cannot read weights"):
            checkpoint.load(path)
    save_file(
        weights | {"output.0.bias": torch.full((3,), torch.inf)},
        path,
        {"architecture": "ESDNet", "config": json.dumps(CONFIG)},
    )
    with pytest.raises(ModelError, match=r"not finite .*output\.0\.bias"):
        checkpoint.load(path)


def test_loading_does_not_import_the_compiler() -> None:
    """Building the network without memory, to compare shapes, drew random numbers: PyTorch imported its compiler for
    that, 1.5 s at every start of a stage."""
    program = "import sys, esdnet.models; esdnet.models.load('stream-nano'); sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
