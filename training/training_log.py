"""What a run writes for TensorBoard: curves, pictures, firing rates, membranes, learnt leaks and thresholds."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from esdnet.firing import FiringRate, troubled
from esdnet.integer_lif import IntegerLIF


class TrainingLog:
    """One run's TensorBoard folder. `report` gets the lines that a person should see."""

    def __init__(self, folder: Path, step: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)  # what a killed run wrote after its checkpoint
        self._warned: dict[str, str] = {}

    def close(self) -> None:
        self._writer.close()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def pictures(self, step: int, rainy: Tensor, derained: Tensor, clean: Tensor) -> None:
        """RGB (N, 3, H, W) in 0..1, side by side with the residual: what was taken away, grey where nothing was."""
        residual = (0.5 + (rainy - derained)).clamp(0, 1)
        for name, side in (("rainy", rainy), ("derained", derained), ("clean", clean), ("residual", residual)):
            self._writer.add_images(f"pictures/{name}", side.cpu(), step)

    def firing(self, step: int, rates: dict[str, FiringRate]) -> list[str]:
        """Firing rates a layer; returns a line for each layer that is newly dead or saturated."""
        lines = []
        for name, rate in rates.items():
            self._writer.add_scalar(f"firing/{name}", rate.rate, step)
            self._writer.add_scalar(f"spikes/{name}", rate.spikes, step)
        now = troubled(rates)
        for name, what in now.items():
            if self._warned.get(name) != what:
                lines.append(
                    f"warning: step {step}: layer {name} is {what}: {rates[name].rate:.2%} of its neurons fire"
                )
        self._warned = now
        return lines

    def membranes(self, step: int, state: dict[str, Tensor]) -> None:
        """Histograms of what is carried."""
        for name, tensor in state.items():
            self._writer.add_histogram(f"membrane/{name}", tensor.float().cpu(), step)

    @torch.no_grad()
    def neurons(self, step: int, network: nn.Module) -> None:
        """Histograms of the learnt thresholds and leaks; τ = 1 / (1 − leak) is the same leak as a time in frames."""
        for name, module in network.named_modules():
            if isinstance(module, IntegerLIF):
                self._writer.add_histogram(f"threshold/{name}", module.log_threshold.exp().flatten().cpu(), step)
                if module.carried:
                    leak = torch.sigmoid(module.leak_logit).flatten().cpu()
                    self._writer.add_histogram(f"leak/{name}", leak, step)
                    self._writer.add_histogram(f"tau/{name}", 1 / (1 - leak), step)
