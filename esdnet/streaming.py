"""StreamNet: the spiking UNet for video. One step a frame, membrane potentials carried from frame to frame.

It follows ESDNet ("Learning A Spiking Neural Network for Efficient Image Deraining", IJCAI 2024) where a single
picture is concerned: spiking residual blocks of LIF → conv 3×3 → threshold-scaled batch norm in a three-level UNet
whose output is the rain layer. It differs where the sequence is concerned:

* It works at half size on YUV 4:2:0 as cameras and codecs deliver it (`planes.py`): a quarter of the pixels, no colour
  conversion.
* Neurons fire integers (`integer_lif.py`); those at the carried levels keep their membrane from frame to frame.
* The read-out neurons do not fire. Each is a leaky integrator whose potential *is* the clean picture:

      V[t] = (1 − g)·I[t] + g·A(V[t−1]),     I = rainy − rain

  with a leak g in 0..1 that the network computes for every pixel from the present and the past, and A, the
  alignment of the past with the present (`motion.py`, `warp.py`). Where little moves, g rises and rain that comes and
  goes averages out of the potential; where the past does not fit, g falls and the network works as on a single picture;
  where it plainly cannot fit (`past.py`), all membranes are forgotten. An input-dependent leak is what gated LIF
  neurons learn (GLIF, NeurIPS 2022); a non-firing leaky read-out is common in spiking regression (e.g. Bellec et al.,
  NeurIPS 2018).
* The luma of the last rainy frame is carried too and moved along the same motion (`StreamConfig.seen`). Against the
  clean past alone, ground that something dark has just left looks like a streak, in this frame and in all that follow;
  against what was seen it does so for one frame.

`step` is pure: frame and state in, frame and state out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from esdnet.box import box_plane
from esdnet.errors import ModelError
from esdnet.motion import CELL, MotionSearch
from esdnet.past import Past, planar, trust
from esdnet.planes import CHANNELS, luma
from esdnet.state import MembraneState
from esdnet.stream_blocks import Block, Run, SpikeConv
from esdnet.stream_config import StreamConfig
from esdnet.warp import PackedWarp, size_of

__all__ = ["STRIDE", "StreamConfig", "StreamNet"]

STRIDE = 4  # of the packed, half-size picture; 8 of the full one
_DIFFERENCE_GAIN = 4.0  # brings present − past (mostly below 0.2) to the scale of the picture at the stem
_CONTRAST_GAIN = 12.0  # a streak 4 % brighter than what is around it drives the stem half-way
_CONTRAST_WINDOW = 7  # half-size pixels
_AGE_STEP = 0.5  # the age of the memory goes 0, 0.5, 0.75 … → 1


def _tanh(x: Tensor) -> Tensor:
    """tanh to within 2·10⁻⁷, written as a sigmoid: OpenVINO's own tanh looks up tables and takes six times as long."""
    return 2.0 * torch.sigmoid(2.0 * x) - 1.0


class StreamNet(nn.Module):
    """See the module's text. Frames are packed YUV 4:2:0, (N, 6, H/2, W/2), H/2 and W/2 multiples of `STRIDE`."""

    def __init__(self, config: StreamConfig = StreamConfig()) -> None:  # noqa: B008  # it is frozen
        super().__init__()
        self.config = config
        d1, d2, d3 = config.dims
        e1, e2, e3 = config.encoder_blocks

        def blocks(count: int, dim: int, level: int) -> nn.ModuleList:
            return nn.ModuleList(Block(dim, config, level) for _ in range(count))

        self.stem = nn.Conv2d(2 * CHANNELS + 1 + (8 if config.contrast else 0), d1, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(d1, momentum=0.02)
        self.encoder1, self.encoder2, self.encoder3 = blocks(e1, d1, 1), blocks(e2, d2, 2), blocks(e3, d3, 3)
        self.down1 = SpikeConv(d1, d2, config, 1, stride=2)
        self.down2 = SpikeConv(d2, d3, config, 2, stride=2)
        self.up3 = SpikeConv(d3, d2, config, 3, kernel=1)
        self.up2 = SpikeConv(d2, d1, config, 2, kernel=1)
        self.decoder2, self.decoder1 = blocks(config.decoder_blocks[0], d2, 2), blocks(config.decoder_blocks[1], d1, 1)
        if config.carry_picture and config.align:
            self.search, self.warp = MotionSearch(), PackedWarp(CELL)
        self.grow = nn.Upsample(scale_factor=2.0, mode="bilinear")
        self.head = nn.Conv2d(d1, 2 * CHANNELS + 2, 3, padding=1)
        self._begin()
        self._names: dict[nn.Module, str] = {
            module: name
            for name, module in self.named_modules()
            if isinstance(module, SpikeConv) and module.lif.carried
        }

    @torch.no_grad()
    def _begin(self) -> None:
        """Start as a network of single pictures that changes nothing: the past is ignored until it is taught, so single
        frames can be learnt first and nothing of that is lost when sequences begin (docs/experiments/carrying.md)."""
        if self.stem.weight.is_meta:
            return  # PyTorch would import its compiler for random numbers without memory, which takes 1.5 s
        self.stem.weight[:, CHANNELS : 2 * CHANNELS + 1] = 0.0  # difference from the past, its age
        self.stem.weight[:, 2 * CHANNELS + 5 :] = 0.0  # contrast of the difference
        nn.init.zeros_(self.head.weight)
        nn.init.normal_(self.head.weight[:CHANNELS], std=1e-3)
        assert self.head.bias is not None
        self.head.bias[:CHANNELS] = 0.0  # rain
        self.head.bias[CHANNELS : 2 * CHANNELS] = 3.0  # its mask
        self.head.bias[2 * CHANNELS :] = -2.0  # leak

    def initial_state(self, streams: int, height: int, width: int, *, device: torch.device | str | None = None,
                      dtype: torch.dtype | None = None) -> MembraneState:  # fmt: skip
        """Zeros for `streams` streams of packed size `height` × `width` (half of the picture's)."""
        if height % STRIDE or width % STRIDE:
            raise ModelError(f"packed size {width}×{height} is no multiple of {STRIDE}: pad the frame first")
        like = self.stem.weight
        device, dtype = device or like.device, dtype or like.dtype
        shapes: dict[str, tuple[int, ...]] = {}
        if self.config.carry_picture:
            shapes["picture"] = (streams, CHANNELS, height, width)
            shapes["age"] = (streams, 1, 1, 1)
            if self.config.seen:
                shapes["seen"] = (streams, 4, height, width)
        for name, level, dim in self._membranes():
            scale = 2 ** (level - 1)
            shapes[name] = (streams, dim, height // scale, width // scale)
        return MembraneState({name: torch.zeros(shape, device=device, dtype=dtype) for name, shape in shapes.items()})

    def _membranes(self) -> list[tuple[str, int, int]]:
        """(name, level, channels) of every carried layer of neurons, in the order of the state."""
        levels = {"encoder1": 1, "decoder1": 1, "down1": 1, "encoder2": 2, "decoder2": 2, "down2": 2, "up2": 2}
        units = [(name, module) for module, name in self._names.items() if isinstance(module, SpikeConv)]
        return [(name, levels.get(name.partition(".")[0], 3), unit.lif.channels) for name, unit in units]

    def step(self, frame: Tensor, state: MembraneState) -> tuple[Tensor, MembraneState]:
        """One frame of each stream: rainy packed (N, 6, H/2, W/2) and state → derained, same shape, and new state.

        The output is not clamped. The potentials of the returned state belong to this frame.
        """
        kept: dict[str, Tensor] = {}
        past, fits = Past(planar(frame[:, :4]), planar(frame[:, 4:]), planar(frame[:, :4])), None
        age = torch.zeros_like(frame[:, :1, :1, :1])
        if self.config.carry_picture:
            age = state["age"]
            before = self._before(frame, state)
            if self.config.trust:
                fits, past = trust(luma(frame), before.luma) * (age > 0), before
            else:
                known = age[..., None, None] > 0
                past = Past(*(torch.where(known, old, new) for old, new in zip(before, past, strict=True)))
            if self.config.seen:
                kept["seen"] = frame[:, :4].clone()  # the frame is the caller's, who may write the next one into it
            kept["age"] = age + (1.0 - age) * _AGE_STEP
        inputs = self._encode(frame, past, age, fits)

        run = Run(state, self._names, fits)
        x1 = self.stem_norm(self.stem(inputs))
        x1 = self._through(self.encoder1, x1, run)
        x2 = self._through(self.encoder2, run(self.down1, x1), run)
        x3 = self._through(self.encoder3, run(self.down2, x2), run)
        x2 = x2 + self.grow(run(self.up3, x3))
        x2 = self._through(self.decoder2, x2, run)
        x1 = x1 + self.grow(run(self.up2, x2))
        x1 = self._through(self.decoder1, x1, run)

        picture = self._read_out(frame, self.head(x1), age, past if self.config.carry_picture else None, fits)
        if self.config.carry_picture:
            kept["picture"] = picture
        kept |= run.potentials
        return picture, MembraneState({name: kept[name] for name in state})  # the order is part of the contract

    def _before(self, frame: Tensor, state: MembraneState) -> Past:
        """The carried pictures, moved to where their content is in `frame`."""
        picture, seen = state["picture"], [state["seen"]] if self.config.seen else []
        if self.config.align:
            parts = self.warp(picture, self.search(luma(picture), luma(frame)).to(picture.dtype), *seen)
        else:
            parts = (picture[:, :4], picture[:, 4:], *seen)
        return Past(*(planar(part) for part in (*parts, parts[0])[:3]))

    @staticmethod
    def _read_out(frame: Tensor, drive: Tensor, age: Tensor, past: Past | None, fits: Tensor | None) -> Tensor:
        """New potential of the read-out neurons, (N, 6, H/2, W/2), from the head's output; `past` None: without memory.

        The rain layer has a mask (most pixels are dry in most rain), and one leak serves the four luma phases of
        a pixel, another its chroma: whether the past fits is a property of the place. Without a past the leak is 0.

        Computed on (N, C, H·W), which is channels-first for every compiler: in channels-last, where the head leaves its
        output, taking channels apart and repeating them costs OpenVINO as much as a convolution.
        """
        flat = drive.flatten(2)
        rain, mask = flat[:, :CHANNELS], flat[:, CHANNELS : 2 * CHANNELS]
        potential = frame.flatten(2) - torch.sigmoid(mask) * rain
        if past is not None:
            leak = torch.sigmoid(flat[:, 2 * CHANNELS :]) * (age > 0).flatten(2)
            if fits is not None:
                leak = leak * fits.flatten(2)
            bright = torch.lerp(potential[:, :4], past.luma.flatten(2), leak[:, :1])
            colour = torch.lerp(potential[:, 4:], past.chroma.flatten(2), leak[:, 1:])
            potential = torch.cat([bright, colour], dim=1)
        return potential.view(frame.shape)

    def _encode(self, frame: Tensor, past: Past, age: Tensor, fits: Tensor | None) -> Tensor:
        """What the stem sees: the picture, its difference from the past, how old the past is, and contrasts.

        The contrast in time is taken against the last rainy frame. What is brighter than the clean past and was so in
        the last frame too is no streak, but ground that something dark has moved away from.

        A faint streak is a small part of the picture's range, and the first neurons, whose currents are scaled to that
        range, would round it away. Compressed contrast (as in a retina) lets it fire.
        """
        bright, colour, age = planar(frame[:, :4]), planar(frame[:, 4:]), planar(age)
        differences, change = [bright - past.luma, colour - past.chroma], bright - past.seen
        if fits is not None:
            known = planar(fits)
            differences, change, age = [each * known for each in differences], change * known, age * known
        parts = [bright - 0.5, colour * 2.0, *(each * _DIFFERENCE_GAIN for each in differences)]
        parts.append(age.expand_as(bright[:, :1]))
        if self.config.contrast:
            around = planar(box_plane(luma(frame), _CONTRAST_WINDOW))
            parts.append(_tanh((bright - around) * _CONTRAST_GAIN))
            parts.append(_tanh(change * _CONTRAST_GAIN))
        inputs = torch.cat(parts, dim=1)
        return inputs.view(frame.shape[0], -1, *size_of(frame))

    @staticmethod
    def _through(blocks: nn.ModuleList, x: Tensor, run: Run) -> Tensor:
        for block in blocks:
            x = block(x, run)
        return x

    def forward(self, frame: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """`step` with the state as positional tensors, for export: (frame, *state) → (frame, *state)."""
        state = self.initial_state(1, STRIDE, STRIDE, device="meta").with_tensors(tensors)
        picture, state = self.step(frame, state)
        return picture, *state.tensors()
