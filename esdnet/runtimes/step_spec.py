"""StepSpec: which step to compile: of packed frames or of 8-bit planes, for how many streams, for which size.

Runtimes that compile ahead need every shape at once. A spec makes the module, example inputs and zero state that belong
together, and exports them as one graph without state of its own: (pictures, *state) → (pictures, *state).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from esdnet.errors import ModelError
from esdnet.plane_step import PlaneStep, packed_size, pad
from esdnet.planes import CHANNELS, FULL, LIMITED, pack, unpack
from esdnet.runtimes import half_body
from esdnet.state import MembraneState
from esdnet.streaming import StreamNet

if TYPE_CHECKING:
    from torch.export import (
        ExportedProgram,
    )  # takes a second to import, which a machine without a GPU need not wait for


class _DevicePlaneStep(PlaneStep):
    """As its parent, 8-bit samples at the very border only: TensorRT knows uint8 as input and output, nothing between.

    With `exact_floats` the planes come out as float32 whole numbers 0..255: Torch-TensorRT has no converter for a cast
    to uint8 inside of a graph, but casts what it marks as an output of that type.
    """

    exact_floats = False

    def forward(self, y: Tensor, u: Tensor, v: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        height, width = packed_size(self.height, self.width)
        luma = pad(y.float(), 2 * height, 2 * width)
        blue, red = (pad(plane.float(), height, width) for plane in (u, v))
        frame = (pack(luma, blue, red) - self.middle) / self.steps
        derained, *kept = self.network(frame, *state)
        codes = torch.round(derained * self.steps + self.middle).clamp(0, 255)
        sizes = ((self.height, self.width), *[((self.height + 1) // 2, (self.width + 1) // 2)] * 2)
        planes = [plane[:, :, :h, :w] for plane, (h, w) in zip(unpack(codes), sizes, strict=True)]
        if not self.exact_floats:
            planes = [plane.to(torch.uint8) for plane in planes]
        return (*planes, *kept)


@dataclass(frozen=True)
class StepSpec:
    """``planes`` says whether pictures are 8-bit Y, U, V of the picture's own size, or packed float32 frames (padded).

    ``height`` and ``width`` are the picture's for planes, and the packed frame's (half of the padded picture's) else.
    """

    streams: int
    height: int
    width: int
    planes: bool = True
    full_range: bool = False

    def __post_init__(self) -> None:
        if min(self.streams, self.height, self.width) < 1:
            raise ModelError(f"no step for {self.streams} streams of {self.width}×{self.height}")

    def __str__(self) -> str:
        kind = ("planes-pc" if self.full_range else "planes-tv") if self.planes else "packed"
        return f"{self.width}x{self.height}-b{self.streams}-{kind}"

    @property
    def packed(self) -> tuple[int, int]:
        """Height and width that the network sees."""
        return packed_size(self.height, self.width) if self.planes else (self.height, self.width)

    def pictures(self) -> list[Tensor]:
        """Empty inputs: uint8 Y, U, V (N, 1, H, W), or float32 (N, 6, H, W)."""
        if not self.planes:
            return [torch.zeros(self.streams, CHANNELS, self.height, self.width)]
        chroma = ((self.height + 1) // 2, (self.width + 1) // 2)
        sizes = ((self.height, self.width), chroma, chroma)
        return [torch.zeros(self.streams, 1, *size, dtype=torch.uint8) for size in sizes]

    def zeros(self, network: StreamNet) -> MembraneState:
        """The state before the first picture, for a network of `half_body.with_body`."""
        return half_body.initial_state(network, self.streams, *self.packed)

    def module(self, network: StreamNet, *, exact_floats: bool = False) -> nn.Module:
        """The step as a module of tensors: ``(*pictures, *state) → (*pictures, *state)``."""
        if not self.planes:
            return network
        step = _DevicePlaneStep(network, self.height, self.width, FULL if self.full_range else LIMITED)
        step.exact_floats = exact_floats
        return step.eval()

    def export(self, network: StreamNet) -> ExportedProgram:
        """The whole step as one functional graph with fixed shapes. ModelError where it keeps state in a buffer, whose
        write-back Torch-TensorRT would drop without a word. Planes come out as float32 whole numbers 0..255."""
        zeros = self.zeros(network).tensors()
        example = (*(picture.to(zeros[0].device) for picture in self.pictures()), *zeros)
        module = self.module(network, exact_floats=True).to(zeros[0].device)
        with torch.no_grad():
            exported = torch.export.export(module, example, strict=False)
        signature = exported.graph_signature
        if signature.buffers_to_mutate or signature.user_inputs_to_mutate:
            raise ModelError("the step changes a buffer or an input in place; it cannot be exported")
        if not len(signature.user_inputs) == len(signature.user_outputs) == len(example):
            raise ModelError(
                f"the exported step has {len(signature.user_inputs)} inputs and {len(signature.user_outputs)} outputs, "
                f"not {len(example)} of each"
            )
        return exported
