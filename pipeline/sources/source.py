"""What every source of frames promises. `tests/unit/test_sources.py` holds each of them to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from pipeline.frame import Frame, StreamInfo
from pipeline.sources.losses import Loss


class Source(ABC):
    """Frames in presentation order. Read once, from one thread, then closed.

    A source promises:

    * `info` is known as soon as it is open; it never changes.
    * Frames come in the order they are shown, numbered 0, 1, 2 …; pixels are tightly packed and belong to the receiver.
    * Timestamps are the stream's own, in ticks of `info.time_base`, untouched: gaps, variable rate and a start other
      than 0 stay. Only a frame that has none is given one (see `FileSource`).
    * What cannot be decoded is skipped and counted in `damaged`; it does not end the stream.
    * Where reading changes more than nothing (depth, chroma, alpha), `warnings` says so.
    * `close` may be called twice, and in the middle.

    Raises DerainError when it cannot be opened or read on; the text names the file and says what to do.
    """

    info: StreamInfo

    def __init__(self) -> None:
        self.damaged = 0
        """Frames that did not decode, and those that the decoder patched up (which are still given)."""
        self.lost: list[Loss] = []
        """Those frames one by one, with their time; of very many only the first."""
        self.gaps: list[tuple[float, float]] = []
        """Stretches, in seconds, in which no frame came though one would usually have: a pause, or damage."""
        self.repeated_pts = 0
        """Frames whose pts is not above the one before. Given as they are."""
        self.warnings: list[str] = []
        self.beat: Callable[[], None] = lambda: None
        """Called with every packet that is read, by sources that may read many before a frame comes."""

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """The frames. Each source is iterated once."""

    @abstractmethod
    def close(self) -> None:
        """Give back the file and the decoder's threads."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
