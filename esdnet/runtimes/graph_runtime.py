"""What the GPU runtimes have in common: a prepared step a shape, over two sets of membranes used in turn.

A runtime says how a launch is made (`_launcher`): captured CUDA graphs of PyTorch's kernels, or of a TensorRT engine.
Each prepared step is checked once against eager PyTorch, both turns, before its first frame is given out: a compiler's
mistake must not become a video.
"""

from __future__ import annotations

import contextlib
import math
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor

from esdnet.errors import ModelError
from esdnet.runtimes import half_body
from esdnet.runtimes.runtime import Plane
from esdnet.runtimes.step_spec import StepSpec
from esdnet.runtimes.two_sets import Launch, TwoSets
from esdnet.state import MembraneState
from esdnet.streaming import StreamNet

KEPT_SHAPES = 4
"""Prepared steps kept at a time for `step`; streams of planes hold their own."""
LEAST_PSNR = 40.0
"""Decibels against eager float32 below which a prepared step is refused. In half precision spikes at the edge of a
threshold flip, which costs about 53 dB on shipped models; a mistake costs far more."""


class Session:
    """One prepared step: its memory and how it is launched, on a stream of its own where there is one."""

    def __init__(self, spec: StepSpec, sets: TwoSets, launch: Launch, stream: torch.cuda.Stream | None) -> None:
        self.spec, self.sets, self._launch, self.stream = spec, sets, launch, stream

    def on_stream(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self.stream) if self.stream else contextlib.nullcontext()

    def step(self, pictures: Sequence[Tensor], state: MembraneState) -> tuple[list[Tensor], MembraneState]:
        """Pictures on any device → copies of the derained ones on the same device, and the new state (lent)."""
        if self.stream:
            self.stream.wait_stream(torch.cuda.current_stream(self.stream.device))
        with self.on_stream(), torch.no_grad():
            after = self.sets.step(self._launch, pictures, state)
            both = zip(self.sets.derained, pictures, strict=True)
            derained = [held.to(given.device, copy=True) for held, given in both]
        if self.stream:
            torch.cuda.current_stream(self.stream.device).wait_stream(self.stream)
        return derained, after


class GraphRuntime:
    """Base of runtimes that prepare every shape ahead. Not to be opened itself; see `_launcher`."""

    name = ""

    def __init__(self, network: StreamNet, device: torch.device, precision: str = "fp16") -> None:
        if precision not in half_body.PRECISIONS:
            raise ModelError(f"unknown precision {precision!r}; choose one of {', '.join(half_body.PRECISIONS)}")
        self._device, self._precision = device, precision
        self._reference = half_body.with_body(network, torch.float32)
        self._network = half_body.with_body(network, half_body.PRECISIONS[precision])
        self._sessions: OrderedDict[StepSpec, Session] = OrderedDict()

    def _launcher(self, spec: StepSpec, sets: TwoSets, stream: torch.cuda.Stream | None) -> Launch:
        """What carries out one turn over `sets`. ModelError where it cannot be prepared."""
        raise NotImplementedError

    def initial_state(self, streams: int, height: int, width: int) -> MembraneState:
        return half_body.initial_state(self._network, streams, height, width, device=self._device)

    def step(self, frame: Tensor, state: MembraneState) -> tuple[Tensor, MembraneState]:
        streams, _, height, width = frame.shape
        spec = StepSpec(streams, height, width, planes=False)
        if spec in self._sessions:
            self._sessions.move_to_end(spec)
        else:
            self._sessions[spec] = self.prepare(spec)
            while len(self._sessions) > KEPT_SHAPES:
                self._sessions.popitem(last=False)
        derained, after = self._sessions[spec].step([frame], state)
        return derained[0], after

    def open_stream(self, height: int, width: int, *, full_range: bool) -> PlanesInTurn:
        """A stream of 8-bit planes; see `PlaneRuntime`."""
        return PlanesInTurn(self.prepare(StepSpec(1, height, width, planes=True, full_range=full_range)), self)

    def prepare(self, spec: StepSpec) -> Session:
        """Memory, kernels and graphs for one shape, checked. ModelError where they cannot be had or compute wrongly."""
        stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None  # type: ignore[no-untyped-call]
        sets = TwoSets(spec.pictures(), spec.zeros(self._network), self._device)
        try:
            session = Session(spec, sets, self._launcher(spec, sets, stream), stream)
            found = self._agreement(session)
        except torch.cuda.OutOfMemoryError as error:
            raise ModelError(
                f"runtime {self.name}: not enough GPU memory for {spec} in {self._precision}; use fewer streams or a "
                "smaller size"
            ) from error
        if found < LEAST_PSNR:
            raise ModelError(
                f"runtime {self.name}: {spec} differs from eager PyTorch ({found:.1f} dB, at least {LEAST_PSNR:.0f} is "
                "asked for), so it is not used; choose another --runtime, and please report this"
            )
        return session

    @torch.no_grad()
    def _agreement(self, session: Session) -> float:
        """The lowest PSNR (dB) of three frames from the first on, against eager float32 on the same device from the
        same membranes, one stream of the batch. Three: both turns, and the first again with a past."""
        spec = session.spec
        alone = StepSpec(1, spec.height, spec.width, spec.planes, spec.full_range)
        reference = self._reference.to(self._device)
        module = alone.module(reference).to(self._device)
        state: MembraneState = spec.zeros(self._network)
        lowest = math.inf
        for number in range(3):
            pictures = [t.to(self._device) for t in _test_pictures(spec, number)]
            before = [t[:1].to(self._device, torch.float32, copy=True) for t in state.tensors()]
            found, state = session.step(pictures, state)
            expected = module(*(t[:1] for t in pictures), *before)
            peak = 255.0 if spec.planes else 1.0
            for ours, theirs in zip(found, expected, strict=False):
                lowest = min(lowest, _psnr(ours[:1].float(), theirs.float(), peak))
            for name, theirs in zip(state, expected[len(pictures) :], strict=True):
                if name == "picture":  # the past, and in the set that membranes are in; they may differ by a spike
                    lowest = min(lowest, _psnr(state[name][:1].to(self._device).float(), theirs.float(), 1.0))
        return lowest


class PlanesInTurn:
    """One stream of 8-bit planes through page-locked memory; the membranes never leave the device."""

    def __init__(self, session: Session, runtime: GraphRuntime) -> None:
        self._session = session
        locked = session.stream is not None
        self._given = [torch.zeros(t.shape, dtype=t.dtype, pin_memory=locked) for t in session.sets.pictures]
        self._taken = [torch.zeros(t.shape, dtype=t.dtype, pin_memory=locked) for t in session.sets.pictures]
        self._state: MembraneState = session.spec.zeros(runtime._network)

    def step(self, planes: Sequence[Plane]) -> list[Plane]:
        for held, plane in zip(self._given, planes, strict=True):
            held.numpy()[0, 0] = plane
        session = self._session
        if session.stream:
            session.stream.wait_stream(torch.cuda.current_stream(session.stream.device))
        with session.on_stream(), torch.no_grad():
            self._state = session.sets.step(session._launch, self._given, self._state)
            for here, there in zip(self._taken, session.sets.derained, strict=True):
                here.copy_(there, non_blocking=True)
        if session.stream:
            session.stream.synchronize()
        return [held.numpy()[0, 0].copy() for held in self._taken]

    def take_state(self) -> MembraneState:
        """In main memory and float32, exact, so that any runtime can go on from it."""
        return MembraneState({name: self._state[name].to("cpu", torch.float32, copy=True) for name in self._state})

    def put_state(self, state: MembraneState) -> None:
        expected = self._session.sets.sets[0]
        if [t.shape for t in state.tensors()] != [t.shape for t in expected]:
            raise ModelError("the state put in is of another network or frame size")
        self._state = MembraneState({name: state[name].clone() for name in state})


def _test_pictures(spec: StepSpec, number: int) -> list[Tensor]:
    """A smooth picture that moves, with streaks on it; the same on every machine."""
    generator = torch.Generator().manual_seed(0)
    pictures = []
    for like in spec.pictures():
        channels, height, width = (int(side) for side in like.shape[1:])
        coarse = torch.rand(1, channels, 5, 8, generator=generator) * 0.5 + 0.25
        picture = F.interpolate(coarse, size=(height, width), mode="bilinear")
        picture = picture.roll((number, 2 * number), (2, 3))
        drops = (torch.rand(1, 1, height, width, generator=generator) > 0.99).float().roll(5 * number, 2)
        picture = picture + 0.15 * F.max_pool2d(drops, (9, 1), 1, (4, 0))
        if like.dtype == torch.uint8:
            picture = torch.round(picture.clamp(0, 1) * 219 + 16)
        else:
            picture[:, 4:] -= 0.5  # chroma is centred on 0
        pictures.append(picture.expand(like.shape).to(like.dtype).contiguous())
    return pictures


def _psnr(found: Tensor, expected: Tensor, peak: float) -> float:
    if not bool(torch.isfinite(found).all()):
        return -math.inf
    error = float(F.mse_loss(found, expected))
    return math.inf if error == 0 else 10 * math.log10(peak * peak / error)
