"""A network with nothing around it, one frame at a time: for counting and looking into it.

Plain PyTorch, every layer in its place (no folding, no compiled graph), so that hooks see spikes and membranes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import esdnet.models
from esdnet.colour import packed_to_rgb, rgb_to_packed
from esdnet.network import ESDNet, pad_to_multiple
from esdnet.planes import FULL, LIMITED, code_scale, pack
from esdnet.state import MembraneState
from esdnet.streaming import STRIDE, StreamNet
from training.clips import ClipFrame
from training.errors import TrainingError

_MULTIPLE = 2 * STRIDE


class Probe:
    """One stream through a named model or a file of weights. TrainingError for a network of another kind."""

    def __init__(self, model: str) -> None:
        network = esdnet.models.load(model)
        if not isinstance(network, StreamNet | ESDNet):
            raise TrainingError(f"{model} is a {type(network).__name__}, which cannot be looked into")
        self.network: StreamNet | ESDNet = network
        self.state: MembraneState | None = None

    @property
    def streaming(self) -> bool:
        """Whether the network carries membranes from frame to frame."""
        return isinstance(self.network, StreamNet)

    def reset(self) -> None:
        self.state = None

    @torch.inference_mode()
    def video(self, frame: ClipFrame, full_range: bool) -> tuple[Tensor, Tensor]:
        """One frame of a video: rainy and derained, as `picture` gives them."""
        if not isinstance(self.network, StreamNet):
            return self.picture(frame.rgb())
        y, u, v = (torch.from_numpy(np.ascontiguousarray(plane))[None, None].float() for plane in frame.planes)
        height, width = (-(-side // _MULTIPLE) * _MULTIPLE for side in y.shape[2:])
        y = _grown(y, height, width)
        u, v = (_grown(plane, height // 2, width // 2) for plane in (u, v))
        codes = pack(y, u, v)
        scale, offset = code_scale(FULL if full_range else LIMITED, codes)
        packed = (codes - offset) / scale
        return packed, self._step(packed)

    @torch.inference_mode()
    def picture(self, rgb: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """One RGB picture (H, W, 3): rainy and derained as the network sees them, (1, C, H', W'), grown to its
        multiple: packed YUV 4:2:0 for a `StreamNet`, RGB for an `ESDNet`."""
        tensor = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))[None].float() / 255
        if not isinstance(self.network, StreamNet):
            derained: Tensor = self.network(tensor)
            return tensor, derained
        packed = rgb_to_packed(pad_to_multiple(tensor, _MULTIPLE))
        return packed, self._step(packed)

    def as_rgb(self, seen: Tensor) -> NDArray[np.uint8]:
        """(H', W', 3) uint8 of what `video` and `picture` give."""
        rgb = packed_to_rgb(seen) if self.streaming else seen
        return np.asarray((rgb[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())

    def _step(self, packed: Tensor) -> Tensor:
        network: Any = self.network
        if self.state is None:
            self.state = network.initial_state(1, *packed.shape[2:])
        derained, self.state = network.step(packed, self.state)
        result: Tensor = derained
        return result


def _grown(plane: Tensor, height: int, width: int) -> Tensor:
    """Grown at the bottom and right by repetition of the edge."""
    pad = (0, width - plane.shape[3], 0, height - plane.shape[2])
    return torch.nn.functional.pad(plane, pad, mode="replicate") if any(pad) else plane
