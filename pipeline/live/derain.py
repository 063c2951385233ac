"""Derain of a live stream: every frame that comes, or where the network is too slow, what `on_overload` says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from esdnet import allowance
from pipeline.errors import DerainError
from pipeline.frame import Frame, FrameHeader, StreamInfo, fraction, frame_bytes
from pipeline.job import IDENTITY
from pipeline.live.links import Downstream, Upstream
from pipeline.live.overload import SCALES, Governor, enlarged, shrunk
from pipeline.live.priority import step_back
from pipeline.live.reader import QUEUE
from pipeline.live.stage import LiveStage
from pipeline.preview_feed import PreviewFeed
from pipeline.resets import ResetPolicy
from pipeline.restore import Restorer
from pipeline.restore_options import RestoreOptions
from pipeline.upright import derained_upright, quarter_turns, turned

if TYPE_CHECKING:
    from esdnet import Derainer
    from esdnet.firing_probe import FiringProbe

LATE = 1.5
"""Intervals between frames that one may have waited when the network became free; older ones are passed on."""
MEASURE_EVERY = 0.5
"""Seconds between two looks at how much is taken away."""
PROBE_AFTER = 1.0
"""Seconds of frames before the first look at the firing rate: until then every moment goes to being back."""
_USUAL_RATE = 25.0


def run(stage: LiveStage) -> None:
    """Derain what comes down the link until it ends.

    Raises:
        DerainError: The network can't be loaded, or the preview not bound.
    """
    order = stage.order
    work = _Work(stage)
    in_flight = QUEUE if order.on_overload == "passthrough" else 1
    before = Upstream(stage.told.address("decoded"), "derain", "decode", in_flight, stage.stopped)
    behind = Downstream(stage.told.address("derained"), "derain", "encode", stage.stopped)

    def prepare(info: StreamInfo) -> None:
        work.prepare(info)
        behind.connect(info)

    for info, frame in before.frames(prepare):
        behind.send(info, work.derained(info, frame))
        work.look()
        if behind.sent == 1 and order.model != IDENTITY:
            step_back()  # it runs: whoever is starting beside it goes first
    if behind.finish():
        before.acknowledge()
    work.close()


class _Work:
    """The networks of one stream (two where it is interlaced), their resets, and what is measured of them."""

    def __init__(self, stage: LiveStage) -> None:
        order = stage.order
        self._stage, self._order = stage, order
        self._networks: dict[tuple[int, float], Derainer] = {}  # by field and scale: each is ready for its size
        self._seen = 0
        self._reset = ""  # why the next frame that is shown does not go on; the one it came with was passed on
        self._measure_at = 0.0
        self._free_at = 0.0  # when the network was done with its last frame
        self._size: tuple[int, int, str] | None = None
        self._restorer: Restorer | None = None
        self._resets: ResetPolicy | None = None
        self._governor = Governor(time.monotonic)
        self._probe: FiringProbe | None = None
        self._probe_at: float | None = None  # when to make it; None: no frame has come, or it is made
        self._preview = PreviewFeed(order.preview, order.preview_width, order.preview_fps) if order.preview else None
        self._interval = 1 / _USUAL_RATE
        stage.texts["runtime"] = "none"
        if order.model != IDENTITY:
            self._network(0, 1.0)

    def prepare(self, info: StreamInfo) -> None:
        """Get ready for frames of this stream: some runtimes compile for a size when they see it first."""
        self._restorer = Restorer(info, RestoreOptions())
        self._interval = 1 / (float(fraction(info.average_rate)) if info.average_rate else _USUAL_RATE)
        if self._resets is None:
            self._resets = ResetPolicy(info, scene_cuts=self._order.scene_cuts, live=True)
        size = (info.width, info.height, info.pixel_format)
        if self._networks and size != self._size:
            self._size = size
            pixels = np.full(frame_bytes(info.pixel_format, info.width, info.height), 128, np.uint8)
            header = FrameHeader(index=0, pts=0, width=info.width, height=info.height, pixel_format=info.pixel_format)
            for scale in SCALES if self._order.on_overload == "downscale" else SCALES[:1]:
                network = self._network(0, scale)
                self._run(network, shrunk(Frame(header, pixels), scale))
                network.reset()

    def derained(self, info: StreamInfo, frame: Frame) -> Frame:
        """The frame as it goes on, with the same header."""
        stage, began = self._stage, time.monotonic()
        late = frame.header.read_at < self._free_at - LATE * self._interval
        passed = self._order.model == IDENTITY or (self._order.on_overload == "passthrough" and late)
        if passed:
            made = frame
            self._reset = self._reset or frame.header.reset
            stage.count("passed", self._order.model != IDENTITY)
        else:
            made = self._shown(frame)
            self._free_at = time.monotonic()
        if self._preview is not None and (kinds := self._preview.wanted()):
            self._preview.show(frame, made, info, kinds, derained=not passed)
        stage.count("frames")
        stage.busy(time.monotonic() - began)
        return made

    def look(self) -> None:
        """See how many neurons fire, once in a while; when a frame is on its way, which so does not wait for that."""
        now = time.monotonic()
        if self._seen == 1:
            self._probe_at = now + PROBE_AFTER
        elif self._probe_at is not None and now >= self._probe_at:
            self._probe, self._probe_at = self._made_probe(), None
        elif self._probe is not None and self._probe.step():
            self._stage.gauges["firing_rate"] = self._probe.rate or 0.0

    def close(self) -> None:
        if self._preview is not None:
            self._preview.close()

    def _shown(self, frame: Frame) -> Frame:
        assert self._restorer is not None
        assert self._resets is not None
        views = self._restorer.views(frame)
        known = self._reset if self._seen else ""
        self._seen, self._reset = self._seen + 1, ""
        if reason := self._resets.reason(views[0], known):
            self._forget(reason)
        scale = self._governor.scale
        began = time.monotonic()
        dry = []
        for number, view in enumerate(views):
            small = shrunk(view, scale)
            out = self._run(self._network(number, scale), small)
            dry.append(enlarged(view, small, out) if scale < 1 else out)
        took = time.monotonic() - began
        self._stage.gauges["network_seconds"] = took
        if self._order.on_overload == "downscale" and self._governor.note(took, self._interval):
            self._stage.gauges["scale"] = self._governor.scale
            self._forget("overload_scale")
        if self._probe is not None:
            planes = turned(views[0].planes(), quarter_turns(self._restorer.info))
            self._probe.show(planes, self._restorer.full_range)
        self._measure_rain(views[0], dry[0])
        return self._restorer.restored(frame, views, dry)

    def _measure_rain(self, view: Frame, dry: list[Any]) -> None:
        """How much was taken away, once in a while and on every fourth pixel of every fourth row."""
        now = time.monotonic()
        if now < self._measure_at:
            return
        self._measure_at = now + MEASURE_EVERY
        before = view.planes()[0]
        change = np.abs(dry[0][::4, ::4].astype(np.int16) - before[::4, ::4])
        self._stage.gauges["removed"] = float(change.mean()) / 255

    def _forget(self, reason: str) -> None:
        for network in self._networks.values():
            network.reset()
        self._stage.count(f"reset_{reason}")
        self._stage.resets.append((time.time(), reason))

    def _run(self, network: Derainer, view: Frame) -> list[Any]:
        assert self._restorer is not None
        quarters = quarter_turns(self._restorer.info)
        return derained_upright(network, view.planes(), self._restorer.full_range, quarters)

    def _made_probe(self) -> FiringProbe | None:
        from esdnet.errors import ModelError
        from esdnet.firing_probe import FiringProbe

        try:
            return FiringProbe(self._order.model)
        except ModelError:  # a picture network: it has no rate from frame to frame, and none is reported
            return None

    def _network(self, number: int, scale: float) -> Derainer:
        from esdnet import Derainer
        from esdnet.errors import ModelError

        order, key = self._order, (number, scale)
        if key not in self._networks:
            threads = order.threads or allowance.cores()
            try:
                self._networks[key] = Derainer(order.model, runtime=order.runtime, threads=threads)
            except ModelError as error:
                raise DerainError(str(error)) from error
            self._stage.texts["runtime"] = self._networks[key].runtime
        return self._networks[key]
