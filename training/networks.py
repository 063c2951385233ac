"""The network a run begins with."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import nn

from esdnet.errors import ModelError
from esdnet.network import ESDNet, EsdnetConfig
from esdnet.stream_blocks import SpikeConv
from esdnet.streaming import StreamConfig, StreamNet
from training.checkpoints import load_weights
from training.packed_clips import DataError
from training.run_config import RunConfig


def build_network(run: RunConfig, device: torch.device | str | None = None) -> StreamNet | ESDNet:
    """The network a run begins with: random, or the weights of `init`, whose shape is its own unless told otherwise."""
    torch.manual_seed(run.seed)
    start = load_weights(run.init) if run.init else None
    _known_fields(run)
    try:
        network: StreamNet | ESDNet
        if isinstance(start, ESDNet) and not run.shape:
            network = ESDNet(start.config)
        elif isinstance(start, StreamNet) and not run.network:
            network = StreamNet(start.config)
        elif run.kind == "esdnet":
            network = ESDNet(EsdnetConfig(**_tuples(run.shape)))
        else:
            network = StreamNet(StreamConfig(**run.shape))
    except (TypeError, ValueError, ModelError) as error:
        raise DataError(f"network: {error}") from error
    if start is not None:
        _begin_from(network, start, str(run.init))
    network = network.to(device or run.device)
    # The attention of the paper's network has 3-D convolutions, which know no such order.
    return network.to(memory_format=torch.channels_last) if isinstance(network, StreamNet) else network  # type: ignore[call-overload]


def _known_fields(run: RunConfig) -> None:
    config = EsdnetConfig if run.kind == "esdnet" else StreamConfig
    known = [field.name for field in dataclasses.fields(config)]
    if unknown := [name for name in run.shape if name not in known]:
        raise DataError(f"network: kind {run.kind} has no {', '.join(unknown)}; it has {', '.join(known)}")


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


@torch.no_grad()
def _begin_from(network: nn.Module, start: nn.Module, name: str) -> None:
    """Take over the weights of `start`; a layer that has grown in width takes them into its first channels.

    Residual blocks that `start` lacks begin as nothing beside the identity, so that no more is lost by growing deeper.
    Channel attention that the run's network goes without is dropped: every gain is then 1. Other spike levels than
    those of `start` change how finely its neurons fire, not how much they pass on.
    """
    if isinstance(network, StreamNet) and isinstance(start, StreamNet):
        _fire_finer(start, network.config.spike_levels / start.config.spike_levels)
    mine = network.state_dict()
    for key, theirs in start.state_dict().items():
        if ".attention." in key and key not in mine and isinstance(network, StreamNet):
            continue
        fits = key in mine and theirs.dim() == mine[key].dim()
        if not fits or any(a > b for a, b in zip(theirs.shape, mine[key].shape, strict=True)):
            raise DataError(f"init: {key} of {name} does not fit the network of this run")
        mine[key][tuple(slice(size) for size in theirs.shape)] = theirs
    for key in mine.keys() - start.state_dict().keys():
        if key.endswith(".second.norm.weight"):
            mine[key].zero_()


def _fire_finer(network: StreamNet, finer: float) -> None:
    """Divide thresholds by `finer`; batch norms hear of the currents, which are that much larger."""
    for unit in network.modules():
        if isinstance(unit, SpikeConv):
            unit.lif.log_threshold.sub_(math.log(finer))
            assert unit.norm.running_mean is not None and unit.norm.running_var is not None
            unit.norm.running_mean *= finer
            unit.norm.running_var *= finer**2
