"""Pairs as training data: both sides alike, the same for the same seed, whoever loads them; 16-bit convolutions."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from esdnet.firing import FiringRate, troubled
from esdnet.streaming import StreamConfig, StreamNet
from tests.clips import make_clip
from training import precision
from training.errors import TrainingError
from training.packed_clips import DataError
from training.patches import PatchBatches
from training.run_config import DataConfig
from training.windows import Window, WindowStream, whole_windows


def textured(shift: int) -> np.ndarray:
    """40×48 of a ramp that says where each pixel is from; `shift` makes it bluer."""
    y, x = np.mgrid[0:40, 0:48]
    return np.dstack([np.full_like(x, shift), 4 * y, 4 * x]).astype(np.uint8)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for side, shift in (("rainy", 200), ("clean", 20)):
        (tmp_path / side).mkdir()
        for number in range(4):
            cv2.imwrite(str(tmp_path / side / f"{number}.png"), textured(shift + number))
    return tmp_path


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """A clip of frames as NTURain ships it: the picture slides, rain makes it brighter."""
    for side, light in (("a1_Rain", 40), ("a1_GT", 0)):
        (tmp_path / side).mkdir()
        for number in range(6):
            picture = np.roll(textured(90) // 2, 4 * number, axis=1) + light
            cv2.imwrite(str(tmp_path / side / f"{number + 1:05}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 100])
    return tmp_path


def data(folder: Path, **changes: object) -> DataConfig:
    fields = {"pairs": [{"path": str(folder)}], "crop": 32, "window": 2, "windows": 2, "batch": 3,
              "cache": str(folder / "cache"), **changes}  # fmt: skip
    return DataConfig.model_validate(fields)


def test_a_pair_of_pictures_is_a_clip_that_stands_still(pictures: Path) -> None:
    for window in islice(WindowStream(data(pictures), seed=1), 4):
        assert window.rainy.shape == (2, 3, 6, 16, 16)
        for side in (window.rainy, window.clean):
            assert torch.equal(side[0], side[1])
        # Both sides show the same place: only blue differs, so U does, and V and Y hardly do.
        rainy, clean = window.rainy.int(), window.clean.int()
        assert (rainy[:, :, 4] - clean[:, :, 4]).min() > 60
        assert (rainy[:, :, :4] - clean[:, :, :4]).abs().max() < 24


def test_both_sides_of_a_clip_take_the_same_course(frames: Path) -> None:
    moved = False
    for window in islice(WindowStream(data(frames), seed=2), 6):
        difference = window.rainy[:, :, :4].int() - window.clean[:, :, :4].int()
        assert 25 < difference.float().mean() < 40  # 40 steps of full range
        assert difference.float().std() < 6
        moved = moved or not torch.equal(window.clean[0], window.clean[1])
    assert moved


def equal(one: Window, other: Window) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_clip_with_more_frames_than_its_other_side_is_refused(tmp_path: Path) -> None:
    """Matroska does not say how many frames it has, so the longer side was cut without a word."""
    for side, count in (("rainy", 5), ("clean", 4)):
        make_clip(tmp_path / f"a.{side}.mkv", frames=count)
    with pytest.raises(TrainingError, match=r"a\.rainy\.mkv has 5 frames, but .*a\.clean\.mkv 4"):
        WindowStream(data(tmp_path), seed=1)


def test_loader_processes_and_ranks_share_the_same_windows(pictures: Path) -> None:
    config = data(pictures, batch=4)
    alone = list(islice(WindowStream(config, 3), 3))
    loader = DataLoader(WindowStream(config, 3), batch_size=None, num_workers=2)
    assert all(equal(a, b) for a, b in zip(alone, islice(whole_windows(iter(loader), 2), 3), strict=True))
    # Two processes of two batches each see, between them, the slots of one of four.
    half = data(pictures, batch=1)
    ranks = [iter(WindowStream(half, 3, 0, [range(r, r + 1), range(r + 2, r + 3)], 4)) for r in (0, 1)]
    for whole in alone:
        quarters = {(part, rank): next(ranks[rank]) for part in (0, 1) for rank in (0, 1)}
        ordered = [quarters[key] for key in sorted(quarters)]
        assert torch.equal(torch.cat([w.rainy for w in ordered], 1), whole.rainy)
        assert torch.equal(torch.cat([w.fresh for w in ordered]), whole.fresh)


def test_patches_go_through_all_pictures_once_an_epoch(pictures: Path) -> None:
    batches = PatchBatches(data(pictures, batch=2), seed=4)
    assert batches.pictures == 4
    for epoch in range(3):
        seen = [int(blue) - 200 for step in (0, 1) for blue in batches[2 * epoch + step].rainy[:, 2, 0, 0]]
        assert sorted(seen) == [0, 1, 2, 3]
    rainy, clean = batches[5]
    assert rainy.shape == (2, 3, 32, 32)
    assert torch.equal(rainy[:, :2], clean[:, :2])
    assert torch.equal(rainy, PatchBatches(data(pictures, batch=2), seed=4)[5].rainy)
    assert not torch.equal(rainy, PatchBatches(data(pictures, batch=2), seed=5)[5].rainy)
    shares = [PatchBatches(data(pictures, batch=1), 4, share=share, shares=2)[5].rainy for share in (0, 1)]
    assert torch.equal(torch.cat(shares), rainy)


def test_what_is_no_data_for_patches_is_said(pictures: Path) -> None:
    with pytest.raises(DataError, match="trains on pairs of pictures"):
        PatchBatches(DataConfig(), 0)
    with pytest.raises(TrainingError, match=r"0\.png is 48×40: smaller than the crop of 48"):
        PatchBatches(data(pictures, crop=48), 0)
    mixed = data(pictures, stills=[{"path": str(pictures)}])
    with pytest.raises(DataError, match=r"data\.pairs alone"):
        PatchBatches(mixed, 0)


def test_only_convolutions_run_in_16_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = StreamNet(StreamConfig(dims=(4, 4, 4), encoder_blocks=(0, 0, 1), decoder_blocks=(0, 0))).train()
    torch.nn.init.normal_(network.head.weight, std=0.003)
    torch.nn.init.kaiming_uniform_(network.stem.weight)
    frame = torch.rand(2, 6, 16, 16)
    exact, _ = network.step(frame, network.initial_state(2, 16, 16))
    cpu = torch.device("cpu")
    precision.lower_convolutions(network, "float32", cpu)
    assert torch.equal(network.step(frame, network.initial_state(2, 16, 16))[0], exact)
    with pytest.raises(TrainingError, match="float16 is for GPUs"):
        precision.lower_convolutions(network, "float16", cpu)
    monkeypatch.setattr(precision, "_check", lambda *_: None)  # emulated where the processor has no bfloat16
    precision.lower_convolutions(network, "bfloat16", cpu)
    lowered, state = network.step(frame, network.initial_state(2, 16, 16))
    assert lowered.dtype == torch.float32
    assert all(tensor.dtype == torch.float32 for tensor in state.tensors())
    assert 0 < (lowered - exact).abs().mean() < 0.05
    lowered.mean().backward()
    assert network.head.weight.grad is not None and network.head.weight.grad.dtype == torch.float32


def test_a_processor_without_bfloat16_says_so() -> None:
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has bfloat16")
    with pytest.raises(TrainingError, match="this processor has no bfloat16"):
        precision.lower_convolutions(torch.nn.Conv2d(1, 1, 1), "bfloat16", torch.device("cpu"))


def test_dead_and_saturated_layers_are_told() -> None:
    rates = {}
    for name, firing in (("silent", 0), ("fine", 500), ("rare", 2), ("full", 990)):
        rates[name] = FiringRate()
        rates[name].add((torch.arange(1000) < firing).float())
    assert troubled(rates) == {"silent": "dead", "full": "saturated"}
