"""What goes on inside a network while a clip runs through it: firing maps, membranes over time, firing rates.

ESDNet's motivation (IJCAI 2024, section 1): rain makes the brightness of a place jump, and jumps make neurons fire. So
for every layer: where its neurons fire, and how much more where rain falls than elsewhere. Where it rains is known from
the clean clip, if there is one, or else is where the network takes something away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training.errors import TrainingError
from training.probe import Probe

Map = NDArray[np.float32]
RGB = NDArray[np.uint8]

RAIN = 0.03
"""A pixel is in the rain where luma (0..1) differs by more than this from the clean, or derained, picture."""


@dataclass
class Layer:
    """One layer of neurons over the clip."""

    name: str
    levels: int  # spikes a neuron and step at most
    rates: list[float] = field(default_factory=list)  # share of neurons that fire, frame by frame
    in_rain: list[float] = field(default_factory=list)  # mean spikes a neuron where it rains …
    in_dry: list[float] = field(default_factory=list)  # … and where it does not
    shown: Map | None = None  # mean spikes over the channels at the frame shown, (h, w)

    @property
    def rate(self) -> float:
        return float(np.mean(self.rates))

    @property
    def preference(self) -> float:
        """How many times as many spikes fall where it rains; 1 is none, nan where it never rains."""
        dry = float(np.nanmean(self.in_dry)) if np.isfinite(self.in_dry).any() else float("nan")
        wet = float(np.nanmean(self.in_rain)) if np.isfinite(self.in_rain).any() else float("nan")
        return wet / dry if dry > 0 else float("nan")


@dataclass
class Place:
    """One pixel of the full picture followed through the clip."""

    label: str
    x: int
    y: int
    rainy: list[float] = field(default_factory=list)  # luma of the input, 0..1
    derained: list[float] = field(default_factory=list)
    potentials: dict[str, list[float]] = field(default_factory=dict)  # layer → strongest channel's potential there


@dataclass
class Inspection:
    """A clip seen through a network."""

    model: str
    frames: int
    shown: int  # the frame whose pictures and maps are kept: the one with most rain
    rainy: RGB
    derained: RGB
    rain: Map  # |rainy − clean or derained| of luma at that frame
    truth: bool  # whether `rain` is from a clean clip
    layers: list[Layer]
    places: list[Place]


def inspect_clip(probe: Probe, model: str, frames: list[Any], clean: list[RGB] | None) -> Inspection:
    """Runs the clip through the network twice: to find where and when it rains, then to look there.

    `frames` are callables that push one frame through the probe and return (rainy, derained) as it does; `clean` the
    truth as RGB. TrainingError for an empty clip.
    """
    if not frames:
        raise TrainingError("the clip has no frames")
    rain, pictures = _where_it_rains(probe, frames, clean)
    shown = int(np.argmax([float((r > RAIN).mean()) for r in rain]))
    places = _places(rain)
    layers: dict[str, Layer] = {}
    probe.reset()
    for index, push in enumerate(frames):
        with _spikes(probe.network) as spikes:
            seen, derained = push(probe)
        wet = torch.from_numpy(rain[index] > RAIN)[None, None].float()
        for name, fired in spikes.items():
            layer = layers.setdefault(name, Layer(name, _levels(probe.network, name)))
            _count(layer, fired, wet)
            if index == shown:
                layer.shown = fired.mean(0).numpy()
        for place in places:
            _follow(place, probe, seen, derained)
    rainy, result = pictures[shown]
    return Inspection(
        model, len(frames), shown, rainy, result, rain[shown], clean is not None, [*layers.values()], places
    )


def _where_it_rains(
    probe: Probe, frames: list[Any], clean: list[RGB] | None
) -> tuple[list[Map], list[tuple[RGB, RGB]]]:
    probe.reset()
    rain, pictures = [], []
    for index, push in enumerate(frames):
        rainy, derained = (probe.as_rgb(side) for side in push(probe))
        other = derained if clean is None else _like(clean[index], rainy)
        rain.append(np.abs(_luma(rainy) - _luma(other)))
        pictures.append((rainy, derained))
    return rain, pictures


def _like(clean: RGB, rainy: RGB) -> RGB:
    """`clean` grown at the bottom and right to the size the network works on."""
    down, right = rainy.shape[0] - clean.shape[0], rainy.shape[1] - clean.shape[1]
    if min(down, right) < 0 or max(down, right) >= 8:
        sizes = [f"{a.shape[1]}×{a.shape[0]}" for a in (clean, rainy)]
        raise TrainingError(f"the clean clip is {sizes[0]}, the rainy one {sizes[1]}")
    return np.pad(clean, ((0, down), (0, right), (0, 0)), mode="edge")


def _luma(rgb: RGB) -> Map:
    return np.asarray(rgb @ np.array([0.299, 0.587, 0.114], np.float32) / 255, np.float32)


def _places(rain: list[Map]) -> list[Place]:
    """A place that rain crosses (dry at most times, wet at some) and the driest one, away from the border."""
    stack = np.stack(rain)
    inner = np.zeros(stack.shape[1:], bool)
    inner[8:-8, 8:-8] = True
    peak = np.where(inner, stack.max(0) - np.median(stack, 0), -1)
    calm = np.where(inner, stack.max(0), 2)
    found = []
    for label, index in (("a streak passes", peak.argmax()), ("dry throughout", calm.argmin())):
        y, x = np.unravel_index(int(index), peak.shape)
        found.append(Place(label, int(x), int(y)))
    return found


@contextmanager
def _spikes(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Spikes of every spiking layer in the block's pass, (C, h, w): one frame, time steps averaged."""
    fired: dict[str, Tensor] = {}

    def keeper(name: str) -> Any:
        def keep(_module: nn.Module, _inputs: object, output: Any) -> None:
            spikes = (output if isinstance(output, Tensor) else output[0]).detach()
            fired[name] = spikes.mean(0)[0] if spikes.dim() == 5 else spikes[0]

        return keep

    hooks = [
        module.register_forward_hook(keeper(name))
        for name, module in network.named_modules()
        if getattr(type(module), "is_spiking", False)
    ]
    try:
        yield fired
    finally:
        for hook in hooks:
            hook.remove()


def _levels(network: nn.Module, name: str) -> int:
    return int(getattr(network.get_submodule(name), "levels", 1))


def _count(layer: Layer, fired: Tensor, wet: Tensor) -> None:
    layer.rates.append(float((fired > 0).float().mean()))
    activity = fired.mean(0)
    share = F.adaptive_avg_pool2d(wet, (activity.shape[0], activity.shape[1]))[
        0, 0
    ]  # how much of each neuron's place is in the rain
    for where, kept in ((share, layer.in_rain), (1 - share, layer.in_dry)):
        total = float(where.sum())
        kept.append(float((activity * where).sum()) / total if total > 1 else float("nan"))


def _follow(place: Place, probe: Probe, rainy: Tensor, derained: Tensor) -> None:
    for side, kept in ((rainy, place.rainy), (derained, place.derained)):
        kept.append(float(_luma(probe.as_rgb(side))[place.y, place.x]))
    if probe.state is None:
        return
    width = rainy.shape[-1] * (2 if probe.streaming else 1)
    for name in probe.state:
        tensor = probe.state[name]
        if name in ("picture", "age", "seen"):
            continue
        scale = width // tensor.shape[-1]
        here = tensor[0, :, place.y // scale, place.x // scale]
        place.potentials.setdefault(name, []).append(float(here[here.abs().argmax()]))
