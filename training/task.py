"""What the training loop asks of a kind of network: its data, its loss, and what it carries from step to step."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn


@dataclass
class Outcome:
    """One batch: its loss with a gradient, the parts of it for the log, and a way to look at the pictures."""

    loss: Tensor
    parts: dict[str, float]
    psnr_y: float
    pictures: tuple[Tensor, Tensor, Tensor]
    """Rainy, derained, clean, as the task's `look` takes them."""


class Task(Protocol):
    """A kind of network in training. One object per process."""

    module: nn.Module
    """What is called and whose gradients are exchanged between processes; holds `network`."""
    steps: int
    warmup: int
    found: tuple[str, ...]
    """What pairs were found where, a line each, once `batches` has been called."""

    @property
    def network(self) -> nn.Module: ...

    def batches(self, step: int) -> Generator[Any, None, None]:
        """Batches from that step on, `optim.accumulate` to a step. Closing it ends the loader processes."""
        ...

    def run(self, module: nn.Module, batch: Any, step: int, part: int) -> Outcome:
        """Forward pass of batch number `part` of a step through `module` (`module` as it is wrapped)."""
        ...

    def carried(self) -> list[dict[str, Tensor]]:
        """What goes on to the next step, one mapping for each batch of a step; empty mappings where nothing does."""
        ...

    def carry_on(self, carried: list[dict[str, Tensor]]) -> None:
        """Take up what `carried` gave."""
        ...

    def look(self, pictures: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """A few pictures of a batch as RGB (N, 3, H, W) in 0..1: rainy, derained, clean."""
        ...
