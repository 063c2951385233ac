"""Derainer: the front door. One per stream: `derainer(frame)` gives the derained frame and remembers what it must.

Whatever the frame's kind, the network only decides what to *remove*: the rain layer is scaled to the frame's own
samples and taken from them, so a dry area comes out exactly the colour it went in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from esdnet.colour import grey_to_packed, packed_to_rgb, rgb_to_packed, rgb_to_yuv, yuv_to_rgb
from esdnet.errors import ModelError
from esdnet.models import load
from esdnet.plane_step import MULTIPLE, packed_size, pad
from esdnet.planes import FULL, LIMITED, code_scale, pack, unpack
from esdnet.runtimes import PlaneRuntime, PlaneStream, choose_runtime
from esdnet.state import MembraneState
from esdnet.streaming import StreamNet

Plane = NDArray[np.uint8]
Frame = Plane | Sequence[Plane]
"""Three planes Y (H, W), U, V ((H+1)//2, (W+1)//2); or (H, W, 3) RGB; or (H, W) grey; all uint8."""


class Derainer:
    """Derains one stream of frames with a named model, safetensors or an authors' `.pth`.

    ``runtime`` is "auto" or a name of `esdnet.runtimes`; ``threads`` the CPU threads of the network (None: the
    runtime's choice). ModelError for an unknown model or runtime, or weights that cannot be used.

    ``runtime`` then says which was taken, ``note`` what its user should know about that (one line, or empty).
    """

    def __init__(self, model: str = "stream", *, runtime: str = "auto", threads: int | None = None) -> None:
        self.model = model
        self.note = ""
        network = load(model)
        self._streaming = isinstance(network, StreamNet)
        if isinstance(network, StreamNet):
            choice = choose_runtime(runtime, network, threads=threads)
            self._engine = choice.runtime
            self.runtime, self.note = self._engine.name, choice.note
        else:
            if runtime not in ("auto", "eager"):
                raise ModelError(f"picture networks run on eager only, not {runtime!r}")
            if threads is not None:
                torch.set_num_threads(threads)
            self._pictures: nn.Module = network
            self.runtime = "eager"
        # The membranes are in one of two places: here, or inside the runtime's stream while it is the one in use.
        self._state: MembraneState | None = None
        self._stream: PlaneStream | None = None
        self._stream_kind: tuple[int, int, bool] | None = None
        self._in_stream = False
        self._size: tuple[int, int] | None = None

    @property
    def state(self) -> MembraneState | None:
        """The membranes after the last frame; None before the first and for picture networks."""
        if self._in_stream and self._stream is not None:
            return self._stream.take_state()
        return self._state

    @state.setter
    def state(self, state: MembraneState | None) -> None:
        self._state, self._in_stream = state, False
        self._size = None

    def reset(self) -> None:
        """Forget the past: the next frame is treated as the first."""
        self.state = None

    def __call__(self, frame: Frame, full_range: bool = False) -> Frame:
        """The derained frame, of the same kind and size. `full_range` says how to read three planes (else limited);
        a change of size resets the membranes. ModelError for a frame of no known kind."""
        if isinstance(frame, np.ndarray):
            if frame.dtype != np.uint8 or frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] != 3):
                raise ModelError(f"a frame is uint8 (H, W) or (H, W, 3), not {frame.dtype} {frame.shape}")
            return self._rgb(frame) if frame.ndim == 3 else self._grey(frame)
        if len(frame) != 3:
            raise ModelError(f"a frame of planes has three (Y, U, V), not {len(frame)}")
        return self._planes([np.asarray(plane) for plane in frame], full_range)

    def _planes(self, planes: list[Plane], full_range: bool) -> list[Plane]:
        height, width = planes[0].shape
        chroma = ((height + 1) // 2, (width + 1) // 2)
        if any(plane.dtype != np.uint8 for plane in planes) or planes[1].shape != chroma or planes[2].shape != chroma:
            raise ModelError(f"planes do not fit: Y {planes[0].shape} needs uint8 U and V of {chroma}")
        if not self._streaming:
            return self._planes_as_picture(planes, full_range)
        if isinstance(self._engine, PlaneRuntime):
            return self._in_runtime(self._engine, planes, full_range)
        padded_height, padded_width = (-(-side // MULTIPLE) * MULTIPLE for side in (height, width))
        y, u, v = (_tensor(plane) for plane in planes)
        y = pad(y, padded_height, padded_width)
        u, v = (pad(c, padded_height // 2, padded_width // 2) for c in (u, v))
        codes = pack(y, u, v).float()
        scale, offset = code_scale(FULL if full_range else LIMITED, codes)
        derained = self._step((codes - offset) / scale)
        derained = torch.round(derained * scale + offset).clamp_(0, 255).to(torch.uint8)
        y, u, v = unpack(derained)
        return [_array(y, height, width), _array(u, *chroma), _array(v, *chroma)]

    def _rgb(self, rgb: Plane) -> Plane:
        picture = _tensor(rgb)[0].permute(0, 3, 1, 2).float() / 255
        height, width = rgb.shape[:2]
        if not self._streaming:
            derained = self._picture(picture)
        else:
            padded = pad(picture, *(-(-side // MULTIPLE) * MULTIPLE for side in (height, width)))
            packed = rgb_to_packed(padded)
            removed = packed_to_rgb(packed - self._step(packed))[..., :height, :width]
            derained = picture - removed
        codes = torch.round(derained * 255).clamp_(0, 255).to(torch.uint8)
        return np.ascontiguousarray(codes[0].permute(1, 2, 0).numpy())

    def _grey(self, grey: Plane) -> Plane:
        height, width = grey.shape
        picture = _tensor(grey).float() / 255
        if not self._streaming:
            derained = self._picture(picture.expand(-1, 3, -1, -1)).mean(1, keepdim=True)
        else:
            padded = pad(picture, *(-(-side // MULTIPLE) * MULTIPLE for side in (height, width)))
            derained = unpack(self._step(grey_to_packed(padded)))[0]
        return _array(torch.round(derained * 255).clamp_(0, 255).to(torch.uint8), height, width)

    def _planes_as_picture(self, planes: list[Plane], full_range: bool) -> list[Plane]:
        height, width = planes[0].shape
        y, u, v = (_tensor(plane).float() for plane in planes)
        codes = FULL if full_range else LIMITED
        upsampled = [F.interpolate(c, size=(height, width), mode="bilinear") for c in (u, v)]
        yuv = torch.cat([(y - codes.black) / codes.luma, *((c - 128) / codes.chroma for c in upsampled)], dim=1)
        rgb = yuv_to_rgb(yuv)
        removed = rgb_to_yuv(rgb - self._picture(rgb))
        y = y - removed[:, :1] * codes.luma
        even = pad(removed[:, 1:], height + height % 2, width + width % 2)
        small = F.avg_pool2d(even, 2) * codes.chroma
        out = [y, u - small[:, :1], v - small[:, 1:]]
        return [_array(torch.round(c).clamp_(0, 255).to(torch.uint8), *c.shape[-2:]) for c in out]

    @torch.inference_mode()
    def _picture(self, rgb: Tensor) -> Tensor:
        derained: Tensor = self._pictures(rgb)
        return derained

    def _step(self, packed: Tensor) -> Tensor:
        height, width = (int(side) for side in packed.shape[-2:])
        self._fit(height, width)
        past = self.state or self._engine.initial_state(1, height, width)
        derained, self._state = self._engine.step(packed, past)
        self._in_stream = False
        return derained

    def _in_runtime(self, engine: PlaneRuntime, planes: list[Plane], full_range: bool) -> list[Plane]:
        height, width = planes[0].shape
        packed = packed_size(height, width)
        self._fit(*packed)
        if self._stream is None or self._stream_kind != (height, width, full_range):
            self._state, self._in_stream = self.state, False
            self._stream = engine.open_stream(height, width, full_range=full_range)
            self._stream_kind = (height, width, full_range)
        if not self._in_stream:
            self._stream.put_state(self._state or self._engine.initial_state(1, *packed))
            self._state, self._in_stream = None, True
        return self._stream.step(planes)

    def _fit(self, height: int, width: int) -> None:
        """Forgets the past where it is of another size; ModelError where a state put in is."""
        if self._size is not None and self._size != (height, width):
            self._state, self._in_stream = None, False
        elif self._size is None and self._state is not None:
            expected = self._engine.initial_state(1, height, width)
            if [(n, expected[n].shape) for n in expected] != [(n, self._state[n].shape) for n in self._state]:
                raise ModelError("the state put in is of another network or frame size")
        self._size = (height, width)


def _tensor(plane: Plane) -> Tensor:
    """(1, 1, H, W), or (1, 1, H, W, 3), over the same memory where it is writable, else a copy."""
    return torch.from_numpy(plane if plane.flags.writeable else plane.copy())[None, None]


def _array(plane: Tensor, height: int, width: int) -> Plane:
    array: Plane = np.ascontiguousarray(plane[0, 0, :height, :width].numpy())
    return array
