"""The mean of several sets of weights of one network, as which `stream` ships.

Legs of training that began from the same weights lie in one basin: the mean of two is about as good at what each has
learnt, and better than either at what both half know (Wortsman et al., "Model soups", ICML 2022). So a leg that has
learnt a new kind of rain and lost some grass is mixed with one before it (docs/experiments/video-tool-rain.md
has how much of which).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from esdnet.errors import ModelError
from esdnet.integer_weights import round_weights
from esdnet.network import ESDNet
from esdnet.streaming import StreamNet
from training.checkpoints import LAST, load_weights
from training.errors import TrainingError

Share = tuple[float, str]
"""How much of it, and a shipped name, a weights file, or the folder of a run (its averaged weights, not rounded)."""


def read_share(text: str) -> Share:
    """`0.6:runs/mine` → (0.6, "runs/mine"). TrainingError where that is no positive number and a name."""
    number, colon, name = text.partition(":")
    try:
        share = float(number)
    except ValueError:
        share = math.nan
    if not colon or not name or not 0 < share < math.inf:
        raise TrainingError(f"{text}: a share and weights are meant, as in 0.6:runs/mine")
    return share, name


@torch.no_grad()
def mean_of_weights(shares: Sequence[Share]) -> StreamNet | ESDNet:
    """The network whose every weight and statistic is the mean of theirs by share, which need not add up to 1.

    Weights of spiking convolutions are rounded to integers times a scale, as those of a run are. TrainingError or
    ModelError where weights are missing, or of another network than the first.
    """
    whole = sum(share for share, _ in shares)
    first, total = _network(shares[0][1]), dict[str, Tensor]()
    for share, name in shares:
        network = _network(name)
        if _shape(network) != _shape(first):
            raise TrainingError(f"{name}: is another network than {shares[0][1]}; only weights of one can be mixed")
        for key, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                total[key] = total.get(key, torch.zeros_like(tensor, dtype=torch.float64)) + share / whole * tensor
            else:
                total.setdefault(key, tensor)
    first.load_state_dict(total)
    round_weights(first)
    return first


def _network(name: str) -> StreamNet | ESDNet:
    if Path(name).is_dir() and not (Path(name) / LAST).is_file():
        raise TrainingError(f"{name}: holds no run ({LAST})")
    network = load_weights(name)
    if not isinstance(network, StreamNet | ESDNet):
        raise ModelError(f"{name}: no network that is trained here")
    return network


def _shape(network: StreamNet | ESDNet) -> object:
    """What two sets of weights must have in common. The threshold that neurons began with is no part of it."""
    return dataclasses.replace(network.config, threshold=0.5) if isinstance(network, StreamNet) else network.config
