"""Training of the paper's network: patches of paired pictures, 1 − SSIM (or what `loss` says), nothing carried on."""

from __future__ import annotations

import math
from collections.abc import Generator

import torch
from torch import Tensor, nn

from esdnet.colour import rgb_to_yuv
from esdnet.network import ESDNet
from training.distributed import Ranks
from training.loader import loader_of
from training.losses import charbonnier, ssim
from training.patches import PatchBatches, Patches
from training.run_config import LossConfig, RunConfig
from training.task import Outcome

_SHOWN = 4


class PictureTask:
    """A `training.task.Task` over pairs of pictures."""

    network: ESDNet

    def __init__(self, run: RunConfig, network: ESDNet, ranks: Ranks) -> None:
        self.network, self._run, self._ranks = network, run, ranks
        self.module: nn.Module = network
        self._data = PatchBatches(run.data, run.seed, share=ranks.rank, shares=ranks.world)
        self.found = self._data.found
        self.steps, self.warmup = run.optim.steps, run.optim.warmup
        if run.optim.epochs is not None:
            a_step = run.data.batch * ranks.world * run.optim.accumulate
            self.steps = max(1, math.ceil(run.optim.epochs * self._data.pictures / a_step))
            self.warmup = round((run.optim.warmup_epochs or 0) * self._data.pictures / a_step)

    def batches(self, step: int) -> Generator[Patches, None, None]:
        first, last = (number * self._run.optim.accumulate for number in (step, self.steps))
        workers = self._run.data.workers
        yield from loader_of(self._data, workers, sampler=range(first, last))

    def run(self, module: nn.Module, batch: Patches, step: int, part: int) -> Outcome:
        rainy, clean = (side.to(self._ranks.device).float() / 255 for side in batch)
        derained = module(rainy)
        loss, parts = picture_loss(derained, clean, self._run.loss)
        seen = derained.detach().clamp(0, 1)
        error = rgb_to_yuv(seen - clean)[:, :1].square().flatten(1).mean(1)
        psnr = float((-10 * torch.log10(error.clamp_min(1e-7))).mean())
        return Outcome(loss, parts, psnr, (rainy, seen, clean))

    def carried(self) -> list[dict[str, Tensor]]:
        return [{} for _ in range(self._run.optim.accumulate)]

    def carry_on(self, carried: list[dict[str, Tensor]]) -> None:
        pass

    def look(self, pictures: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        rainy, derained, clean = (side[:_SHOWN] for side in pictures)
        return rainy, derained, clean


def picture_loss(derained: Tensor, clean: Tensor, config: LossConfig) -> tuple[Tensor, dict[str, float]]:
    """Loss of RGB pictures (N, 3, H, W) in 0..1, and its parts: 1 − SSIM a colour (the paper's), Charbonnier on Y and
    on U, V. `flicker` and `evenly` are of streams and don't count here."""
    parts: dict[str, Tensor] = {}
    if config.luma or config.chroma:
        error = rgb_to_yuv(derained - clean)
        parts = {"luma": charbonnier(error[:, :1]), "chroma": charbonnier(error[:, 1:])}
    if config.ssim:
        parts["ssim"] = 1 - ssim(derained.flatten(0, 1).unsqueeze(1), clean.flatten(0, 1).unsqueeze(1))
    weights = config.model_dump()
    total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
    return total, {name: float(part.detach()) for name, part in parts.items()}
