"""Rainy frames as a camera's or a file's codec hands them over: H.264, coarse or fine, frame after frame.

Streaks that a codec has smeared, and the noise that it leaves where nothing is, are in all footage there is, and in no
rendered rain. Of the error that `stream` left on the development clips, which are coded, four to seven tenths stood
where it hardly rains (docs/experiments/kinds-of-rain.md).
"""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.codec.codec import UnknownCodecError

from training.packed_clips import DataError, Packed
from training.phases import phases, whole

_TICK = Fraction(1, 25)
_PRESETS = ("ultrafast", "superfast", "veryfast", "faster")


class Codec:
    """One camera's codec. Frames are packed (6, H/2, W/2), uint8 limited range, of one size."""

    def __init__(self, height: int, width: int, rng: np.random.Generator, *, crf: tuple[float, float]) -> None:
        """`crf` is the range from which the constant rate factor is drawn; a higher one is coarser. DataError where
        PyAV's FFmpeg comes without x264."""
        self._height, self._width = height, width
        try:
            self._encoder = av.CodecContext.create("libx264", "w")
        except UnknownCodecError as error:
            raise DataError("PyAV has no libx264 here (its wheels have); or train with data.recompressed: 0") from error
        self._encoder.width, self._encoder.height = width, height
        self._encoder.pix_fmt, self._encoder.time_base = "yuv420p", _TICK
        self._encoder.thread_count = 1
        self._encoder.options = {
            "crf": f"{rng.uniform(*crf):.1f}",
            "preset": str(rng.choice(_PRESETS)),
            "tune": "zerolatency",  # a frame in, that frame out
            "g": str(int(rng.choice([1, 12, 50, 250], p=[0.1, 0.3, 0.3, 0.3]))),
        }
        self._decoder = av.CodecContext.create("h264", "r")
        self._decoder.thread_count = 1
        self._decoder.options = {"flags": "low_delay"}
        self._time = 0

    def through(self, packed: Packed) -> Packed:
        """The frame as it comes out of the codec."""
        height, width = self._height, self._width
        planar = np.concatenate([whole(packed[:4]), packed[4:].reshape(height // 2, width)])
        frame = av.VideoFrame.from_ndarray(planar, format="yuv420p")
        frame.pts, self._time = self._time, self._time + 1
        (shown,) = [out for packet in self._encoder.encode(frame) for out in self._decoder.decode(packet)]
        planar = np.asarray(shown.to_ndarray(), np.uint8)
        return np.concatenate([phases(planar[:height]), planar[height:].reshape(2, height // 2, width // 2)])
