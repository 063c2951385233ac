"""What every sink of frames promises. `tests/unit/test_sinks.py` holds each of them to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from pipeline.frame import Frame
from pipeline.sinks.temporary import writing


class Sink(ABC):
    """Takes frames in presentation order and makes a file or folder of them.

    A sink promises:

    * The destination appears whole, at `close`, or not at all; until then everything is in a hidden temporary beside
      it, which `abort` removes. An existing destination is touched only with `overwrite`.
    * Timestamps, sizes and tags come out as they went in, or `warnings` says what the container could not keep.
    * `close` and `abort` may be called twice, and after each other; the second call does nothing.

    Raises DerainError when it cannot be written (disk full, no rights); the temporary is gone by then.
    """

    def __init__(self, destination: str) -> None:
        self.destination = destination
        self.warnings: list[str] = []
        """What was not kept as it was, one sentence each."""
        self.frames = 0
        """Frames taken so far."""

    def write(self, frame: Frame) -> None:
        """Take one frame. Its pixels must not be changed afterwards."""
        try:
            with writing(self.destination):
                self._write(frame)
        except BaseException:
            self.abort()
            raise

    @abstractmethod
    def _write(self, frame: Frame) -> None:
        """What `write` does; if it raises, all is given up."""

    @abstractmethod
    def close(self) -> None:
        """Finish: flush, copy what is left of the other streams, and put the destination in place."""

    @abstractmethod
    def abort(self) -> None:
        """Give up: remove everything that was written."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
