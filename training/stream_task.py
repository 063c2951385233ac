"""Training of the streaming networks: windows of frames, back-propagation through time, membranes carried on.

Back-propagation through time over windows of frames with surrogate gradients; the membranes that a window ends with are
carried, detached, into the next window of the same streams.
"""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor, nn

from esdnet.colour import packed_to_rgb
from esdnet.state import MembraneState
from esdnet.streaming import StreamNet
from training.distributed import Ranks
from training.loader import loader_of
from training.losses import deraining_loss
from training.packed_clips import DataError
from training.run_config import RunConfig
from training.task import Outcome
from training.teacher import Teacher, without
from training.unrolled import Unrolled
from training.windows import Window, WindowStream, whole_windows

_SHOWN = 4


class StreamTask:
    """A `training.task.Task` over episodes of video."""

    network: StreamNet
    found: tuple[str, ...] = ()

    def __init__(self, run: RunConfig, network: StreamNet, ranks: Ranks) -> None:
        self.network, self._run, self._ranks = network, run, ranks
        self.module: nn.Module = Unrolled(network, ranks.device)
        self.steps, self.warmup = run.optim.steps, run.optim.warmup
        half = run.data.crop // 2
        self._states = [network.initial_state(run.data.batch, half, half) for _ in range(run.optim.accumulate)]
        self._teacher = Teacher(run.teacher, run, ranks) if run.teacher else None

    def batches(self, step: int) -> Generator[Window, None, None]:
        batch, accumulate = self._run.data.batch, self._run.optim.accumulate
        firsts = [(part * self._ranks.world + self._ranks.rank) * batch for part in range(accumulate)]
        blocks = [range(first, first + batch) for first in firsts]
        total = batch * accumulate * self._ranks.world
        stream = WindowStream(self._run.data, self._run.seed, step, blocks, total)
        workers = self._run.data.workers
        self.found = stream.found
        return whole_windows(iter(loader_of(stream, workers)), workers)

    def run(self, module: nn.Module, batch: Window, step: int, part: int) -> Outcome:
        forget = self._forget(step, part, batch)
        derained, clean, rainy, state = module(batch, self._states[part], forget)
        self._states[part] = state.detach()
        target = self._teacher.target(batch, clean, forget, part) if self._teacher else clean
        loss, parts = deraining_loss(derained, target, rainy, self._run.loss)
        return Outcome(loss, parts, _psnr(derained.detach(), clean), (rainy, derained.detach(), clean))

    def _forget(self, step: int, part: int, batch: Window) -> Tensor:
        """Which streams are reset before which frame (T, N): of the step and the place alone, so a resume rolls the
        same."""
        dice = torch.Generator().manual_seed(self._run.seed * 1_000_003 + step)
        frames, streams = batch.rainy.shape[:2]
        world, rank = self._ranks.world, self._ranks.rank
        rolled = torch.rand((frames, streams * world * self._run.optim.accumulate), generator=dice)
        first = (part * world + rank) * streams
        forget = rolled[:, first : first + streams] < self._run.data.forget
        forget[:, streams - self._run.data.singles :] = True  # each of their frames is another scene
        return forget

    def carried(self) -> list[dict[str, Tensor]]:
        mine = [{name: state[name] for name in state} for state in self._states]
        return [a | b for a, b in zip(mine, self._teacher.carried(), strict=True)] if self._teacher else mine

    def carry_on(self, carried: list[dict[str, Tensor]]) -> None:
        device, mine = self._ranks.device, self._states[0]
        if any(without(carried[0])[name].shape != mine[name].shape for name in mine):
            raise DataError(
                f"data.crop: the checkpoint is of a run with other crops than {self._run.data.crop}; give the run "
                "another name, with init: that run's folder, or the same crop"
            )
        self._states = [MembraneState({name: t.to(device) for name, t in without(one).items()}) for one in carried]
        if self._teacher:
            self._teacher.carry_on(carried)

    def look(self, pictures: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The last frame of the first few streams."""
        rainy, derained, clean = (packed_to_rgb(side[-1, :_SHOWN].float()).clamp(0, 1) for side in pictures)
        return rainy, derained, clean


def _psnr(derained: Tensor, clean: Tensor) -> float:
    """Mean over frames of the PSNR of luma, dB, on the normalised scale (219 steps)."""
    error = ((derained.clamp(0, 1) - clean)[:, :, :4] ** 2).flatten(2).mean(2)
    return float((-10 * torch.log10(error.clamp_min(1e-7))).mean())
