"""What a network's arithmetic costs in energy, against the same network without spikes.

As ESDNet's paper and the field count (Horowitz, "Computing's energy problem", ISSCC 2014: 45 nm, 32-bit floating
point): a multiply-accumulate takes 4.6 pJ, an accumulate 0.9 pJ. A convolution that is fed spikes only adds weights,
one accumulate for every spike and connection; an integer spike of value s is s binary spikes and counts s times.
Convolutions fed with anything else multiply, and count in full: the stem, the head, the shortcuts and the attention of
the paper's network. The twin has the same convolutions with ReLU for neurons: multiply-accumulates throughout, and one
pass where a picture network takes T time steps.

Not counted, on either side: batch norm (folded), interpolation, the search for motion, and what moving data costs; on
the spiking side the neurons' own arithmetic (a leak, a threshold and a reset each).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

MAC_PJ = 4.6
ACCUMULATE_PJ = 0.9


@dataclass
class LayerEnergy:
    """One convolution, summed over all passes so far."""

    spiking: bool = False  # fed by neurons
    macs: int = 0  # connections times positions times time steps
    twin_macs: int = 0  # the same with one time step
    _spikes: Tensor | float = 0.0  # on the layer's device until someone asks
    _neurons: int = 0

    @property
    def spikes(self) -> float:
        """Mean spikes an input neuron and time step; 0 where the layer is fed with none."""
        return float(self._spikes) / self._neurons if self._neurons else 0.0

    @property
    def accumulates(self) -> float:
        """Synaptic operations: spikes times the connections they go down."""
        return self.spikes * self.macs if self.spiking else 0.0

    @property
    def energy_pj(self) -> float:
        return self.accumulates * ACCUMULATE_PJ if self.spiking else self.macs * MAC_PJ

    @property
    def twin_pj(self) -> float:
        return self.twin_macs * MAC_PJ

    def add(self, module: nn.Conv2d | nn.Conv3d, output: Tensor, spikes: Tensor | None, steps: int) -> None:
        """Counts one pass: its output, the spikes that went in (None: no spikes), and how many time steps it is of."""
        macs = module.weight[0].numel() * output.numel()
        self.macs += macs
        self.twin_macs += macs // steps
        self.spiking = spikes is not None
        if spikes is not None:
            self._spikes = self._spikes + spikes.detach().sum(dtype=torch.float64)
            self._neurons += spikes.numel()


class Energy(dict[str, LayerEnergy]):
    """Convolution's name → its energy, in the order of the passes; totals in picojoules."""

    @property
    def energy_pj(self) -> float:
        return sum(layer.energy_pj for layer in self.values())

    @property
    def twin_pj(self) -> float:
        return sum(layer.twin_pj for layer in self.values())

    @property
    def ratio(self) -> float:
        """Energy over the twin's; 0 where nothing ran."""
        return self.energy_pj / self.twin_pj if self.twin_pj else 0.0

    def summary(self, pixels: int, frames: int) -> dict[str, Any]:
        """JSON-able, a frame of `pixels` pixels, averaged over the `frames` counted; layers with their share."""
        total = self.energy_pj or 1.0
        per_frame = max(1, frames)
        return {
            "frames": frames,
            "energy_mj": self.energy_pj / per_frame / 1e9,
            "twin_mj": self.twin_pj / per_frame / 1e9,
            "ratio": self.ratio,
            "kmacs_per_pixel": sum(x.macs for x in self.values() if not x.spiking) / per_frame / pixels / 1e3,
            "kaccumulates_per_pixel": sum(x.accumulates for x in self.values()) / per_frame / pixels / 1e3,
            "twin_kmacs_per_pixel": sum(x.twin_macs for x in self.values()) / per_frame / pixels / 1e3,
            "layers": [
                {
                    "name": name,
                    "spiking": layer.spiking,
                    "spikes": layer.spikes if layer.spiking else None,
                    "energy_share": layer.energy_pj / total,
                    "ratio": layer.energy_pj / layer.twin_pj if layer.twin_pj else None,
                }
                for name, layer in self.items()
            ],
        }


@contextmanager
def energy_meter(network: nn.Module) -> Iterator[Energy]:
    """Counts every convolution of `network` while the block runs; the result stays readable after it.

    A convolution counts as spiking where its input is, itself, what a spiking layer (`is_spiking`) has just given.
    """
    energy = Energy()
    fired: list[Tensor] = []  # what the last spiking layer gave, until its convolution has taken it

    def remember(_module: nn.Module, _inputs: object, output: Any) -> None:
        fired[:] = [output if isinstance(output, Tensor) else output[0]]

    def counter(name: str) -> Any:
        def count(module: nn.Conv2d | nn.Conv3d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            spikes = fired.pop() if fired and fired[0] is inputs[0] else None
            # (T, N, C, H, W) into a 2-D convolution: the paper's network shows T time steps at once.
            steps = inputs[0].shape[0] if isinstance(module, nn.Conv2d) and inputs[0].dim() == 5 else 1
            energy.setdefault(name, LayerEnergy()).add(module, output, spikes, steps)

        return count

    hooks = []
    for name, module in network.named_modules():
        if getattr(type(module), "is_spiking", False):
            hooks.append(module.register_forward_hook(remember))
        elif isinstance(module, nn.Conv2d | nn.Conv3d):
            hooks.append(module.register_forward_hook(counter(name)))
    try:
        yield energy
    finally:
        for hook in hooks:
            hook.remove()
