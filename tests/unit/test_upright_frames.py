"""Live frames come out as a viewer sees them: lying pictures went to RTMP, MPEG-TS and all else, and nobody said so."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.pixels import pack
from pipeline.sources.live import LiveSource
from pipeline.sources.live_address import live_address
from pipeline.sources.upright_frames import UprightFrames
from tests.clips import make_clip

WIDTH, HEIGHT = 6, 4


def as_told(stored: np.ndarray, matrix: tuple[int, ...]) -> np.ndarray:
    """Each pixel where the matrix puts it, moved into the picture's corner."""
    a, b, _, c, d = matrix[:5]
    y, x = np.mgrid[0 : stored.shape[0], 0 : stored.shape[1]]
    column, row = a * x + c * y, b * x + d * y
    column, row = column - column.min(), row - row.min()
    shown = np.zeros((row.max() + 1, column.max() + 1), stored.dtype)
    shown[row, column] = stored
    return shown


@pytest.mark.parametrize(
    "matrix",
    [(a, 0, 0, 0, d, 0, 0, 0, 1) for a, d in itertools.product((1, -1), repeat=2)]
    + [(0, b, 0, c, 0, 0, 0, 0, 1) for b, c in itertools.product((1, -1), repeat=2)],
)
def test_every_quarter_and_mirror_image(matrix: tuple[int, ...]) -> None:
    luma = np.arange(WIDTH * HEIGHT, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    frame = av.VideoFrame.from_ndarray(luma, format="gray")
    frame.pts, frame.time_base = 7, Fraction(1, 25)
    upright = UprightFrames(matrix)
    for _ in range(2):
        shown = upright.turned(frame)
        wanted = as_told(luma, matrix)
        assert (pack(shown, False).reshape(shown.height, shown.width) == wanted).all()
        assert (shown.pts, shown.time_base) == (7, Fraction(1, 25))


@pytest.mark.parametrize(("degrees", "told"), [(0, False), (90, False), (10, True), (100, True)])
def test_a_tilt_is_told(degrees: int, told: bool) -> None:
    cos, sin = (round(65536 * f(np.radians(degrees))) for f in (np.cos, np.sin))
    upright = UprightFrames((cos, sin, 0, -sin, cos, 0, 0, 0, 1 << 30))
    assert bool(upright.lost(av.VideoFrame(WIDTH, HEIGHT, "yuv420p"))) == told


def test_a_frame_without_a_matrix_is_left_alone() -> None:
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    assert UprightFrames(None).turned(frame) is frame


@pytest.mark.parametrize("color_range", [1, 2])
def test_a_telephone_s_film_at_its_own_pace(tmp_path: Path, color_range: int) -> None:
    """Its pixels' shape turns with it, its colours and its clock stay."""
    clip = make_clip(
        tmp_path / "a.mkv", rotation=90, frames=3, sample_aspect_ratio=Fraction(4, 3),
        tags={"color_range": color_range, "color_primaries": 1, "color_trc": 1, "colorspace": 1},
    )  # fmt: skip
    with LiveSource(str(clip), live_address(str(clip)), open_timeout=5, stall_timeout=5, sound=False) as source:
        frames = [frame for _, frame in zip(range(3), source, strict=False) if isinstance(frame, av.VideoFrame)]
        info = source.info(frames[0])
        seconds = [source.seconds(frame) for frame in frames]
    with av.open(str(clip)) as container:
        stored = next(container.decode(video=0))
    assert (info.width, info.height, info.sample_aspect_ratio) == (48, 64, (3, 4))
    assert (info.rotation, info.color_range, info.colorspace) == (0, color_range, 1)
    assert seconds == [0.0, 0.04, 0.08]
    luma, wanted = (pack(frame, color_range == 2)[: 48 * 64] for frame in (frames[0], stored))
    assert (luma.reshape(64, 48) == np.rot90(wanted.reshape(48, 64))).all()
