"""Checkpoints of a run: all that it needs to go on exactly where it was, written whole or not at all."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import esdnet.checkpoint
import esdnet.models
from training.packed_clips import DataError

LAST = "last.pt"
"""To go on from."""
WEIGHTS = "average.safetensors"
"""To use: the averaged weights, those of spiking convolutions rounded to integers times a scale."""

_PARTS = {"network", "weights", "average", "optimizer", "state", "step"}


def save_checkpoint(folder: Path, content: dict[str, Any]) -> None:
    """Writes `folder`/last.pt beside itself and renames it. DataError where it cannot be written: what was there is
    as it was, and nothing is left beside it."""
    packed = io.BytesIO()  # PyTorch's own file does not say what the system said
    torch.save(content, packed)
    partial = folder / f"{LAST}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(packed.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, folder / LAST)
    except OSError as error:
        if partial.is_file():
            partial.unlink()
        raise DataError(
            f"{folder / LAST}: cannot be written ({error.strerror or error}); free some space, then the same command "
            "goes on from the checkpoint before"
        ) from error


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The last checkpoint, None where there is none. DataError where it cannot be read."""
    path = folder / LAST
    if not path.exists():
        return None
    try:
        with warnings.catch_warnings(action="ignore"):
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler raises whatever the damage leads it to
        raise DataError(f"{path}: damaged checkpoint; delete it to begin anew ({type(error).__name__})") from error
    if not isinstance(content, dict) or not content.keys() >= _PARTS:
        raise DataError(f"{path}: is no checkpoint of `derain train`; move it away, or give the run another name")
    return content


def load_weights(name: str) -> nn.Module:
    """The network of a shipped name, a weights file, or the folder of a run (its averaged weights, not rounded).

    ModelError or DataError where there is none.
    """
    folder = Path(name).expanduser()
    content = load_checkpoint(folder) if folder.is_dir() else None
    if content is None:
        return esdnet.models.load(name)
    network = esdnet.checkpoint.load(folder / WEIGHTS)  # its shape
    network.load_state_dict(content["average"]["shadow"])
    return network


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
