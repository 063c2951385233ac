"""Firing rates: how often the neurons of a network spike, layer by layer.

Sparse spikes are what makes a spiking network cheap, and a layer that never fires, or always, is what is wrong when one
does not learn. Nothing is counted, and nothing costs time, outside of `firing_rates`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from esdnet.errors import ModelError

DEAD, SATURATED = 0.001, 0.95
"""Below and above these firing rates a layer passes on next to nothing."""


@dataclass
class FiringRate:
    """Spikes of one layer of neurons over all passes so far; a "neuron" below is one element at one time step."""

    _firing: Tensor | int = 0  # tensors on the layer's device until someone asks, so that counting never waits for it
    _spikes: Tensor | float = 0.0
    _elements: int = 0

    @property
    def rate(self) -> float:
        """Share of neurons that fired, 0..1."""
        return float(self._firing) / self._elements

    @property
    def spikes(self) -> float:
        """Mean number of spikes a neuron; above `rate` only where neurons fire whole numbers above 1."""
        return float(self._spikes) / self._elements

    def add(self, spikes: Tensor) -> None:
        """Counts one output of the layer: spikes of any shape, values >= 0."""
        spikes = spikes.detach()
        self._firing = self._firing + torch.count_nonzero(spikes > 0)
        self._spikes = self._spikes + spikes.sum(dtype=torch.float64)
        self._elements += spikes.numel()


@contextmanager
def firing_rates(network: nn.Module) -> Iterator[dict[str, FiringRate]]:
    """Counts the spikes of every spiking layer while the block runs.

        with firing_rates(network) as rates:
            network(pictures)
        rates["encoder_level1.0.residual.0"].rate

    A spiking layer is a module whose class says ``is_spiking = True`` and whose forward returns its spikes, or a tuple
    that begins with them. The mapping goes from the module's name in `network` to its `FiringRate`, in the order in
    which layers first fired; it gathers all passes inside the block and stays readable after it. ModelError for a
    network without a spiking layer.
    """
    layers = {name: module for name, module in network.named_modules() if getattr(type(module), "is_spiking", False)}
    if not layers:
        raise ModelError(f"{type(network).__name__} has no spiking layer whose firing rate could be measured")
    rates: dict[str, FiringRate] = {}

    def counter(name: str) -> Callable[[nn.Module, object, object], None]:
        def count(_module: nn.Module, _inputs: object, output: Any) -> None:
            rates.setdefault(name, FiringRate()).add(output if isinstance(output, Tensor) else output[0])

        return count

    hooks = [module.register_forward_hook(counter(name)) for name, module in layers.items()]
    try:
        yield rates
    finally:
        for hook in hooks:
            hook.remove()


def troubled(rates: Mapping[str, FiringRate]) -> dict[str, str]:
    """Layers that are "dead" (a rate below `DEAD`) or "saturated" (above `SATURATED`), by name."""
    found = {}
    for name, rate in rates.items():
        if rate.rate < DEAD:
            found[name] = "dead"
        elif rate.rate > SATURATED:
            found[name] = "saturated"
    return found
