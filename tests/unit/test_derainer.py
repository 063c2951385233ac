"""The front door: every kind and size of frame, dry areas untouched, state in and out. On eager, which compiles
nothing; what other runtimes add is in their own tests."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from esdnet import Derainer, MembraneState
from esdnet.checkpoint import save
from esdnet.errors import ModelError
from esdnet.network import ESDNet, EsdnetConfig
from esdnet.streaming import StreamConfig, StreamNet

Plane = NDArray[np.uint8]
SIZES = [(16, 16), (1, 1), (17, 19), (33, 50), (48, 64)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    net = StreamNet(StreamConfig(dims=(8, 8, 16), encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1)))
    torch.nn.init.normal_(net.head.weight, std=0.002)
    torch.nn.init.kaiming_uniform_(net.stem.weight)  # or a new network would ignore the past
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save(net, path, {})
    return str(path)


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network that never removes anything, and so must give every frame back to the bit."""
    net = StreamNet(StreamConfig(dims=(8, 8, 8), encoder_blocks=(0, 0, 0), decoder_blocks=(0, 0)))
    torch.nn.init.zeros_(net.head.weight)
    torch.nn.init.constant_(net.head.bias, 0.0)
    torch.nn.init.constant_(net.head.bias[6:], -100.0)
    path = tmp_path_factory.mktemp("weights") / "silent.safetensors"
    save(net, path, {})
    return str(path)


def noise(*shape: int, seed: int = 0) -> Plane:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def planes(height: int, width: int, seed: int = 0) -> list[Plane]:
    chroma = ((height + 1) // 2, (width + 1) // 2)
    return [noise(height, width, seed=seed), noise(*chroma, seed=seed + 1), noise(*chroma, seed=seed + 2)]


@pytest.mark.parametrize("size", SIZES)
def test_every_kind_and_size(weights: str, size: tuple[int, int]) -> None:
    derainer = Derainer(weights, runtime="eager")
    for frame in (noise(*size, 3), noise(*size)):
        for _ in range(2):
            out = derainer(frame)
            assert isinstance(out, np.ndarray)
            assert (out.shape, out.dtype) == (frame.shape, np.uint8)
    for full_range in (False, True):
        out = derainer(planes(*size), full_range)
        assert [p.shape for p in out] == [p.shape for p in planes(*size)]


@pytest.mark.parametrize("size", SIZES)
def test_what_is_not_rain_comes_out_as_it_went_in(silent: str, size: tuple[int, int]) -> None:
    derainer = Derainer(silent, runtime="eager")
    for full_range in (False, True):
        frame = planes(*size)
        out = derainer(frame, full_range)
        assert all(np.array_equal(a, b) for a, b in zip(out, frame, strict=True))
    for picture in (noise(*size, 3), noise(*size)):
        assert np.array_equal(derainer(picture), picture)


def test_memory_and_reset(weights: str) -> None:
    derainer = Derainer(weights, runtime="eager")
    first = derainer(noise(24, 32))
    again = derainer(noise(24, 32))
    assert not np.array_equal(first, again)
    derainer.reset()
    assert derainer.state is None
    assert np.array_equal(derainer(noise(24, 32)), first)


def test_a_stream_moves_to_another_derainer_bit_for_bit(weights: str) -> None:
    here, there = (Derainer(weights, runtime="eager") for _ in range(2))
    here(noise(24, 32, seed=1))
    assert here.state is not None
    there.state = MembraneState.from_bytes(here.state.to_bytes())
    assert np.array_equal(here(noise(24, 32, seed=2)), there(noise(24, 32, seed=2)))


def test_a_change_of_size_begins_anew(weights: str) -> None:
    derainer = Derainer(weights, runtime="eager")
    fresh = derainer(noise(24, 32))
    derainer(noise(48, 64))
    assert np.array_equal(derainer(noise(24, 32)), fresh)


def test_a_state_of_another_size_is_refused(weights: str) -> None:
    derainer, other = (Derainer(weights, runtime="eager") for _ in range(2))
    derainer(noise(24, 32))
    other.state = derainer.state
    with pytest.raises(ModelError, match="another network or frame size"):
        other(noise(64, 64))


@pytest.mark.parametrize("frame", [noise(4, 4, 4), noise(4, 4).astype(np.float32), planes(8, 8)[:2]])
def test_no_frame(weights: str, frame: Plane) -> None:
    with pytest.raises(ModelError):
        Derainer(weights)(frame)


def test_unknown_names(weights: str) -> None:
    with pytest.raises(ModelError, match="unknown model 'strem'"):
        Derainer("strem")
    with pytest.raises(ModelError, match="unknown runtime 'warp'"):
        Derainer(weights, runtime="warp")
    with pytest.raises(ModelError, match="ships no weights"):
        Derainer("esdnet")


def test_picture_networks_take_every_kind_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = ESDNet(EsdnetConfig(dim=8, encoder_blocks=(1, 1, 1), level3_decoder_blocks=1, decoder_blocks=(1, 1)))
    path = tmp_path / "picture.safetensors"
    save(net, path, {})
    derainer = Derainer(str(path))
    frame = planes(17, 22)
    assert [p.shape for p in derainer(frame)] == [p.shape for p in frame]
    for picture in (noise(17, 22, 3), noise(17, 22)):
        assert np.asarray(derainer(picture)).shape == picture.shape
    assert derainer.state is None
