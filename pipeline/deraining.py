"""What is done to the frames of one stream: shown to the network, restored, membranes reset where that is due.

The same for a stream that has a derain stage to itself (`pipeline.derain`) and for one of many (`pipeline.batcher`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from pipeline.frame import Frame, StreamInfo
from pipeline.job import Job
from pipeline.resets import ResetPolicy
from pipeline.restore import Planes, Restorer
from pipeline.upright import derained_upright, quarter_turns

if TYPE_CHECKING:
    from esdnet import Derainer
    from esdnet.tiles import TiledDerainer


class Deraining:
    """Takes the rain out of the frames of one stream, in order.

    Args:
        info: The stream.
        job: How: of its settings those of the network and of what is restored.
        network: Gives the stream's `n`-th network, with membranes of its own. A field of interlaced video has one each.
    """

    def __init__(self, info: StreamInfo, job: Job, network: Callable[[int], Derainer | TiledDerainer]) -> None:
        self._job, self._network = job, network
        self._networks: list[Derainer | TiledDerainer] = [network(0)]
        self._resets = ResetPolicy(info, scene_cuts=job.scene_cuts, live=info.live)
        self._forced = ""
        self.restorer = Restorer(info, job.restore)
        self._quarters = quarter_turns(info)

    @property
    def resets(self) -> dict[str, int]:
        """How often the membranes were zeroed so far, by reason."""
        return dict(self._resets.counts)

    @property
    def networks(self) -> list[Derainer | TiledDerainer]:
        """Those used so far."""
        return list(self._networks)

    def forget(self, reason: str) -> None:
        """The next frame does not go on from those before: zero the membranes, and count `reason` for it."""
        self._forced = reason

    def __call__(self, frame: Frame) -> Frame:
        """The derained frame, with the same header but for `reset`. ModelError where the network cannot take it."""
        views = self.restorer.views(frame)
        while len(self._networks) < len(views):
            self._networks.append(self._network(len(self._networks)))
        still = self.restorer.info.stills and frame.header.index > 0
        if reason := self._resets.reason(views[0], self._forced or ("still" if still else "")):
            frame.header = msgspec.structs.replace(frame.header, reset=reason)
            for network in self._networks:
                network.reset()
        self._forced = ""
        times = self._job.restore.still_steps if self.restorer.info.stills else 1
        pairs = zip(views, self._networks, strict=False)
        dry = [self._shown(view, network, times) for view, network in pairs]
        return self.restorer.restored(frame, views, dry)

    def _shown(self, view: Frame, network: Derainer | TiledDerainer, times: int) -> Planes:
        """What the network makes of a view; a picture that stands alone it is shown several times."""
        for _ in range(times):
            dry = derained_upright(network, view.planes(), self.restorer.full_range, self._quarters)
        return dry
