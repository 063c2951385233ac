"""Checkpoints of a run: all that it needs to go on exactly where it was, written whole or not at all."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.packed_clips import DataError

LAST = "last.pt"


def save_checkpoint(folder: Path, content: dict[str, Any]) -> None:
    """Writes `folder`/last.pt beside itself and renames it."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{LAST}.{os.getpid()}.part"
    torch.save(content, partial)
    os.replace(partial, folder / LAST)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The last checkpoint, None where there is none. DataError where it cannot be read."""
    path = folder / LAST
    if not path.exists():
        return None
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}: damaged checkpoint; delete it to begin anew ({type(error).__name__})") from error
    return content


class WeightAverage:
    """Exponential moving average of a network's parameters and statistics (Polyak averaging): what is shipped.

    The decay warms up as (1 + n) / (10 + n), so that the random beginning is soon forgotten.
    """

    def __init__(self, network: torch.nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.shadow = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: torch.nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                self.shadow[name].lerp_(tensor, 1 - decay)
            else:
                self.shadow[name].copy_(tensor)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, content: dict[str, Any]) -> None:
        self.updates = content["updates"]
        shadow: dict[str, Tensor] = content["shadow"]
        for name, tensor in shadow.items():
            self.shadow[name].copy_(tensor)
