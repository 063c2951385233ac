"""ESDNet, the paper's network for single pictures: a three-level UNet of spiking residual blocks.

"Learning A Spiking Neural Network for Efficient Image Deraining", IJCAI 2024 (https://github.com/MingTian99/ESDNet).
The picture is shown T times; membranes live for those T steps and are gone afterwards. Parameter names are the authors'
checkpoint keys, and the output is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esdnet.blocks import DownSampling, FeatureRefinement, SpikingResidualBlock, UpSampling, spike_conv_unit
from esdnet.errors import ModelError

STRIDE = 4
"""Height and width the network itself works on are multiples of this: it halves the size twice."""

# Far above any network that fits a machine: keeps a damaged or hostile file from asking for one that does not.
_MAX_DIM, _MAX_BLOCKS, _MAX_TIME_STEPS = 1024, 64, 64


@dataclass(frozen=True)
class EsdnetConfig:
    """Shape of an `ESDNet`; the defaults are the paper's. JSON-able. ModelError for numbers that make no network."""

    dim: int = 48
    """Channels at full size; twice at half, four times at a quarter."""
    encoder_blocks: tuple[int, int, int] = (4, 4, 8)
    """Residual blocks before each halving: at full, half and a quarter of the size."""
    level3_decoder_blocks: int = 2
    """Blocks that follow at a quarter of the size."""
    decoder_blocks: tuple[int, int] = (2, 2)
    """Blocks on the way back up: at half, at full size."""
    time_steps: int = 4
    """T, how often the picture is shown."""

    def __post_init__(self) -> None:
        blocks = (*self.encoder_blocks, self.level3_decoder_blocks, *self.decoder_blocks)
        if len(self.encoder_blocks) != 3 or len(self.decoder_blocks) != 2:
            raise ModelError("an ESDNet has 3 encoder and 2 decoder block counts")
        _check("dim", self.dim, _MAX_DIM)
        _check("time_steps", self.time_steps, _MAX_TIME_STEPS)
        for count in blocks:
            _check("block count", count, _MAX_BLOCKS)


def _check(name: str, value: object, most: int) -> None:
    if type(value) is not int or not 1 <= value <= most:
        raise ModelError(f"{name} of an ESDNet must be a whole number from 1 to {most}, not {value!r}")


class PatchEmbedding(nn.Module):
    """First features of the rainy picture: one 3×3 convolution. (N, 3, H, W) to (N, dim, H, W)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.proj(x)
        return features


class ESDNet(nn.Module):
    """Rainy pictures (N, 3, H, W), RGB in 0..1, to derained ones of the same shape; H and W at least 1.

    The result is not clamped. Input of another floating dtype than the weights' is cast to it; the result has the
    weights' dtype. ModelError for anything that is not such a batch of pictures.
    """

    def __init__(self, config: EsdnetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or EsdnetConfig()
        dim = config.dim

        def level(count: int, channels: int) -> nn.Sequential:
            return nn.Sequential(*(SpikingResidualBlock(channels, config.time_steps) for _ in range(count)))

        self.patch_embed = PatchEmbedding(dim)
        self.encoder_level1 = level(config.encoder_blocks[0], dim)
        self.down1_2 = DownSampling(dim)
        self.encoder_level2 = level(config.encoder_blocks[1], 2 * dim)
        self.down2_3 = DownSampling(2 * dim)
        self.encoder_level3 = level(config.encoder_blocks[2], 4 * dim)
        self.decoder_level3 = level(config.level3_decoder_blocks, 4 * dim)
        self.up3_2 = UpSampling(4 * dim)
        self.reduce_chan_level2 = nn.Sequential(*spike_conv_unit(4 * dim, 2 * dim, kernel=1))
        self.decoder_level2 = level(config.decoder_blocks[0], 2 * dim)
        self.up2_1 = UpSampling(2 * dim)
        # At full size the skip connection is kept beside the rest, not reduced: 2 * dim channels from here on.
        self.decoder_level1 = level(config.decoder_blocks[1], 2 * dim)
        self.refinement = FeatureRefinement(2 * dim)
        self.output = nn.Sequential(nn.Conv2d(2 * dim, 3, 3, padding=1))

    def forward(self, rainy: Tensor) -> Tensor:
        if rainy.dim() != 4 or rainy.shape[1] != 3 or 0 in rainy.shape or not rainy.is_floating_point():
            shape, kind = tuple(rainy.shape), str(rainy.dtype).removeprefix("torch.")
            raise ModelError(f"ESDNet takes RGB pictures (N, 3, H, W), floating point in 0..1, not {kind} {shape}")
        height, width = rainy.shape[2:]
        rainy = pad_to_multiple(rainy.to(self.patch_embed.proj.weight.dtype), STRIDE)
        derained = rainy + self._residual(rainy)
        return derained[:, :, :height, :width]

    def _residual(self, rainy: Tensor) -> Tensor:
        """What is to be added to the rainy picture, (N, 3, H, W)."""
        # Every time step sees the same picture, so its first features are computed once.
        features = self.patch_embed(rainy).expand(self.config.time_steps, -1, -1, -1, -1)
        full = self.encoder_level1(features)
        half = self.encoder_level2(self.down1_2(full))
        quarter = self.decoder_level3(self.encoder_level3(self.down2_3(half)))
        half = self.reduce_chan_level2(torch.cat([self.up3_2(quarter), half], dim=2))
        half = self.decoder_level2(half)
        full = self.decoder_level1(torch.cat([self.up2_1(half), full], dim=2))
        residual: Tensor = self.output(self.refinement(full.mean(dim=0)))
        return residual


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Grows (N, C, H, W) at the bottom and right to multiples of `multiple`; returned as it is where they are already.

    New rows and columns mirror the picture without repeating its edge; a side too short to mirror repeats its edge.
    """
    down, right = -x.shape[2] % multiple, -x.shape[3] % multiple
    if down:
        x = F.pad(x, (0, 0, 0, down), mode="reflect" if down < x.shape[2] else "replicate")
    if right:
        x = F.pad(x, (0, right, 0, 0), mode="reflect" if right < x.shape[3] else "replicate")
    return x
