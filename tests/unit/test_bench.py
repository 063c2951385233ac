"""`derain bench`: figures that belong together, and errors that say what to do."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import torch

from esdnet.checkpoint import save
from esdnet.complexity import complexity
from esdnet.network import ESDNet, EsdnetConfig
from esdnet.streaming import StreamConfig, StreamNet
from esdnet.traffic import bytes_per_frame, state_bytes
from pipeline import cli
from pipeline.bench.results import Bench
from pipeline.bench.whole import measure_link, measure_pipeline


@pytest.fixture(scope="module")
def network() -> StreamNet:
    torch.manual_seed(0)
    return StreamNet(StreamConfig(dims=(8, 8, 16), encoder_blocks=(0, 1, 1), decoder_blocks=(0, 0), align=False)).eval()


@pytest.fixture(scope="module")
def weights(network: StreamNet, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save(network, path, {})
    return str(path)


def test_json_holds_figures_that_fit_each_other(
    weights: str, network: StreamNet, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--model", weights, "--size", "64x48", "--size", "128x64", "--runtime", "eager", "--seconds", "0.1"]
    assert cli.main(["bench", *asked, "--threads", "1", "--no-pipeline", "--json"]) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    found = msgspec.json.decode(said, type=Bench)
    assert found.threads == 1
    assert found.pipelines == found.links == []
    small, large = found.networks
    assert (small.width, small.height, small.runtime, small.model) == (64, 48, "eager", weights)
    cost = complexity(network)
    for row in (small, large):
        assert row.frames >= 5
        assert 0 < row.p50_ms <= row.p99_ms
        assert row.gmacs == pytest.approx(cost.kmacs_per_pixel * row.width * row.height / 1e6)
        assert row.state_mb == pytest.approx(cost.state_values_per_pixel * row.width * row.height * 4 / 1e6, rel=1e-3)
        assert row.limits.gflops > 0.1
        assert row.limits.bandwidth > 0.01
        assert row.share_of_gflops == pytest.approx(2 * row.gmacs * row.fps / row.limits.gflops)
        # the roofline is where the nearer of the two limits is reached
        assert row.roofline_fps == pytest.approx(row.fps / max(row.share_of_gflops, row.share_of_bandwidth))
    assert large.gmacs == pytest.approx(small.gmacs * (128 * 64) / (64 * 48))


def test_tables_name_what_was_measured(weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--model", weights, "--size", "64x48", "--runtime", "eager", "--seconds", "0.1", "--no-pipeline"]
    assert cli.main(["bench", *asked]) == 0
    said = capsys.readouterr().out
    for word in ("GFLOP/s", "GB/s", "64x48", "eager", "tiny"):
        assert word in said


def test_traffic_grows_with_the_pixels_and_holds_every_layer(network: StreamNet) -> None:
    assert bytes_per_frame(network, 96, 64) == pytest.approx(1.5 * bytes_per_frame(network, 64, 64))
    stem = 4 * 64 * 64 / 4 * (network.stem.in_channels + network.stem.out_channels)
    state = 2 * 4 * complexity(network).state_values_per_pixel * 64 * 64
    assert bytes_per_frame(network, 64, 64) > stem + 0.9 * state
    assert state_bytes(network, 64, 64) == pytest.approx(state / 2, rel=0.001)
    pictures = 4 * 6 * 64 * 64 / 4
    assert state_bytes(network, 64, 64, 2) == pytest.approx(pictures + (state / 2 - pictures) / 2, rel=0.001)


@pytest.mark.parametrize("size", ["640", "640x", "0x360", "641x360", "8x8", "640x360x2", "-4x16"])
def test_a_size_that_is_none_is_wrong_usage(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", f"--size={size}", "--no-pipeline"]) == 2
    assert "--size" in capsys.readouterr().err


def test_networks_for_pictures_are_not_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = ESDNet(EsdnetConfig(dim=8, encoder_blocks=(1, 1, 1), level3_decoder_blocks=1, decoder_blocks=(1, 1)))
    save(net, tmp_path / "picture.safetensors", {})
    asked = ["--model", str(tmp_path / "picture.safetensors"), "--size", "64x48", "--seconds", "0.1"]
    assert cli.main(["bench", *asked, "--no-pipeline"]) == 2
    assert "the ones for video" in capsys.readouterr().err


def test_an_unknown_runtime_is_one_line(weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--model", weights, "--size", "64x48", "--runtime", "warp", "--seconds", "0.1", "--no-pipeline"]
    assert cli.main(["bench", *asked]) == 1
    assert "unknown runtime 'warp'" in capsys.readouterr().err


def test_the_pipeline_beside_a_bare_decode_and_encode() -> None:
    found = measure_pipeline(64, 48, ["identity"], frames=8, rounds=1, threads=1)
    assert found.bare_fps > 0
    assert found.ratio == {"identity": pytest.approx(found.fps["identity"] / found.bare_fps)}
    assert set(found.stages["identity"]) == {"decode", "derain", "encode"}
    json.dumps(msgspec.to_builtins(found))


def test_a_link_costs_something() -> None:
    cost = measure_link(64, 48)
    assert cost.cpu_ms > 0
    assert cost.wall_ms > 0
