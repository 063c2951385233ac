"""Sound on its way past the network: decoded beside the frames, joined to them again at the encoder.

It is brought to one form, 48 kHz stereo, and coded anew: cameras speak G.711, containers want AAC, and what comes after
a new connection need not be what came before. Gaps become silence, so that picture and sound stay together.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import zmq
from numpy.typing import NDArray

from pipeline.live.messages import TICKS, Sound, pack

if TYPE_CHECKING:
    from av import AudioFrame
    from av.audio.resampler import AudioResampler

RATE = 48_000
TOLERANCE = RATE // 20
"""Samples by which sound may drift from its timestamps before some are added or left out: 50 ms is not heard."""
LATE = RATE
"""Samples that sound may be behind the picture before silence takes its place."""
LONGEST_SILENCE = 10 * RATE
"""Samples of silence that fill a gap; over a longer one the timestamps jump."""
AHEAD = 10 * RATE
"""Samples by which sound may be ahead of the picture: as long as a frame may take through the network and more. What
lies beyond is left out, for the picture would not get there, and what lies between would be cut away."""
WAITING = 50
"""Messages that may wait on each side: about a second."""


class SoundSender:
    """Decode's end: resamples and sends, and drops sound rather than wait.

    Args:
        url: Address that the encoder binds.
    """

    def __init__(self, url: str) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.set_hwm(WAITING)
        self._socket.connect(url)
        self._resampler: AudioResampler | None = None
        self._kind: tuple[Any, ...] = ()

    def send(self, frame: AudioFrame, pts: int) -> None:
        """Args: frame: As decoded. pts: Of its first sample, on the output clock."""
        import av.error
        from av.audio.resampler import AudioResampler

        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or kind != self._kind:
            self._resampler, self._kind = AudioResampler("s16", "stereo", RATE), kind
        frame.pts = None
        try:
            made = self._resampler.resample(frame)
        except (av.error.FFmpegError, ValueError):
            self._resampler = None  # sound that can't be resampled is left out, as what does not decode is
            return
        for piece in made:
            samples = piece.to_ndarray().tobytes()
            try:
                self._socket.send_multipart([pack(Sound(pts, RATE)), samples], zmq.NOBLOCK)
            except zmq.Again:
                return
            pts += piece.samples * TICKS // RATE


class SoundTrack:
    """The encoder's end: an unbroken row of samples on the output clock.

    `take` gives what is ready to be coded, in pieces of `size` samples.
    """

    def __init__(self, size: int = 1024) -> None:
        self.silence = 0
        """Samples of silence put in."""
        self._size = size
        self._next: int | None = None  # where the next sample lies, in samples of the output clock
        self._picture: int | None = None  # where the last frame lies, in such samples too
        self._held: list[NDArray[np.int16]] = []
        self._start = 0

    def add(self, pts: int, samples: bytes) -> None:
        """Add sound.

        Args:
            pts: Of the first sample, in ticks of the output clock.
            samples: 16-bit interleaved stereo.
        """
        row = np.frombuffer(samples, np.int16).reshape(-1, 2)
        at = pts * RATE // TICKS
        if self._picture is not None and at > self._picture + AHEAD:
            return
        if self._next is None:
            self._next = self._start = max(0, at)
        if at > self._next + TOLERANCE:
            self._fill(at)
        elif at < self._next - TOLERANCE:
            row = row[self._next - at :]
        self._put(row)

    def keep_up(self, pts: int) -> None:
        """Put silence in where sound is far behind the picture, whose next frame lies at `pts`."""
        at = self._picture = pts * RATE // TICKS
        if self._next is None:
            self._next = self._start = max(0, at)
        elif self._next < at - LATE:
            self._fill(at - LATE // 2)

    def take(self) -> list[tuple[int, NDArray[np.int16]]]:
        """Pieces of (size, 2) samples, each with where it lies, in samples."""
        have = sum(len(row) for row in self._held)
        if have < self._size:
            return []
        row = np.concatenate(self._held)
        whole = have // self._size * self._size
        made = [(self._start + n, row[n : n + self._size]) for n in range(0, whole, self._size)]
        self._held = [row[whole:]]
        self._start += whole
        return made

    def _fill(self, until: int) -> None:
        assert self._next is not None
        gap = until - self._next
        if gap > LONGEST_SILENCE:
            self._held, self._start, self._next = [], until, until
            return
        self.silence += gap
        self._put(np.zeros((gap, 2), np.int16))

    def _put(self, row: NDArray[np.int16]) -> None:
        assert self._next is not None
        self._held.append(row)
        self._next += len(row)


SAMPLE = Fraction(1, RATE)
"""Seconds a sample."""
