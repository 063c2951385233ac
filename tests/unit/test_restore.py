"""Restorer: the views a network is shown, and that what it removes comes off the frame's own samples, nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import DerainError, UsageError
from pipeline.formats import pixel_format
from pipeline.frame import Frame, FrameHeader, StreamInfo
from pipeline.restore import Planes, Restorer
from pipeline.restore_options import RestoreOptions, check

WIDTH, HEIGHT = 32, 24
FORMATS = [
    *("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p12le", "yuv440p", "yuv411p"),
    *("yuva420p", "yuva444p10le", "gray", "gray10le", "gray12le", "gray16le"),
    *("gbrp", "gbrp10le", "gbrp12le", "gbrap16le", "rgb24", "rgb48le", "rgba", "rgba64le"),
]


def stream(form: str, width: int = WIDTH, height: int = HEIGHT, **changes: Any) -> StreamInfo:
    tags = {"color_range": 2 if pixel_format(form).kind == "rgb" else 1}
    return StreamInfo(width=width, height=height, pixel_format=form, time_base=(1, 25), **(tags | changes))


def frame_of(info: StreamInfo, seed: int = 0, interlaced: bool = False) -> Frame:
    """Soft noise well inside the range, so that nothing is clipped."""
    form, rng, planes = pixel_format(info.pixel_format), np.random.default_rng(seed), []
    for shape in form.shapes(info.width, info.height):
        noise = cv2.GaussianBlur(rng.random(shape), (5, 5), 2)
        planes.append(((noise * 0.3 + 0.35) * form.highest).astype(form.dtype).reshape(-1).view(np.uint8))
    header = FrameHeader(
        index=0, pts=0, width=info.width, height=info.height, pixel_format=form.name, interlaced=interlaced
    )
    return Frame(header, np.concatenate(planes))


def unchanged(view: Frame) -> Planes:
    return [plane.copy() for plane in view.planes()]


def run(info: StreamInfo, frame: Frame, network: Any, **options: Any) -> tuple[Frame, Restorer]:
    restorer = Restorer(info, RestoreOptions(**options))
    views = restorer.views(frame)
    return restorer.restored(frame, views, [network(view) for view in views]), restorer


@pytest.mark.parametrize("interlaced", [False, True], ids=["progressive", "interlaced"])
@pytest.mark.parametrize("trc", [1, 16, 18], ids=["sdr", "pq", "hlg"])
@pytest.mark.parametrize("form", FORMATS)
def test_where_nothing_is_removed_every_sample_stays(form: str, trc: int, interlaced: bool) -> None:
    for size in ((WIDTH, HEIGHT), (33, 21), (7, 5)):
        info = stream(form, *size, color_trc=trc)
        frame = frame_of(info, interlaced=interlaced)
        restored, _ = run(info, frame, unchanged)
        np.testing.assert_array_equal(restored.pixels, frame.pixels)
        assert restored.header == frame.header


@pytest.mark.parametrize("form", FORMATS)
def test_a_network_sees_8_bits_of_the_same_picture(form: str) -> None:
    info = stream(form)
    frame = frame_of(info)
    (view,) = Restorer(info, RestoreOptions()).views(frame)
    deep = pixel_format(form)
    kind, scale = deep.kind, deep.highest / 255 if deep.kind == "rgb" else 1 << (deep.bits - 8)
    assert view.header.pixel_format == {"yuv": "yuv420p", "gray": "gray", "rgb": "rgb24"}[kind]
    shown = view.planes()[0].astype(float)
    own = frame.planes()
    luma = own[0][:, :, :3] if deep.packed else np.dstack([own[2], *own[:2]]) if kind == "rgb" else own[0]
    assert abs(shown - luma / scale).max() <= 0.5


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_removed_comes_off_in_the_samples_own_steps(form: str) -> None:
    """A streak of 20 steps of 8 bits, on the left half only; the right half and alpha stay bit for bit."""
    info = stream(form)
    frame = frame_of(info)

    def network(view: Frame) -> Planes:
        planes = unchanged(view)
        planes[0][:, : WIDTH // 2] -= 20
        return planes

    restored, _ = run(info, frame, network)
    deep = pixel_format(form)
    scale = deep.highest / 255 if deep.kind == "rgb" else 1 << (deep.bits - 8)
    colours = 3 if deep.kind == "rgb" and not deep.packed else 1
    for number, (before, after) in enumerate(zip(frame.planes(), restored.planes(), strict=True)):
        change = before.astype(float) - after
        if deep.packed and deep.alpha:
            assert (change[..., 3] == 0).all()
            change = change[..., :3]
        assert (change[:, WIDTH // 2 :] == 0).all() if number < colours else (change == 0).all()
        if number < colours:
            assert abs(change[:, : WIDTH // 2] - 20 * scale).max() <= 0.5


@pytest.mark.parametrize("form", ["yuv422p10le", "yuv444p", "yuv420p12le"])
def test_colour_that_is_removed_is_spread_to_the_chroma_the_frame_has(form: str) -> None:
    info = stream(form)
    frame = frame_of(info)

    def network(view: Frame) -> Planes:
        planes = unchanged(view)
        planes[1] += 5
        return planes

    restored, _ = run(info, frame, network)
    change = restored.planes()[1].astype(int) - frame.planes()[1]
    assert (change == 5 << (pixel_format(form).bits - 8)).all()
    np.testing.assert_array_equal(restored.planes()[2], frame.planes()[2])


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("trc", [16, 18], ids=["pq", "hlg"])
def test_rain_on_hdr_is_removed_through_the_curve(trc: int, full: bool) -> None:
    """A streak drawn on the view's scale, brought to the source's curve, is gone after the view's streak is taken."""
    info = stream("yuv420p10le", color_trc=trc, color_range=2 if full else 1)
    low, high = (0, 1023) if full else (64, 940)
    ramp = np.linspace(low + 0.1 * (high - low), low + 0.8 * (high - low), HEIGHT * WIDTH).astype("<u2")
    chroma = np.full(HEIGHT * WIDTH // 2, 512, "<u2")
    header = frame_of(info).header
    clean = Frame(header, np.concatenate([ramp, chroma]).view(np.uint8))
    brighter = np.minimum(ramp.astype(int) + 60, high).astype("<u2")
    rainy = Frame(header, np.concatenate([brighter, chroma]).view(np.uint8))
    restorer = Restorer(info, RestoreOptions())
    seen_clean, seen_rainy = restorer.views(clean), restorer.views(rainy)
    restored = restorer.restored(rainy, seen_rainy, [unchanged(seen_clean[0])])
    error = abs(restored.planes()[0].astype(int) - clean.planes()[0])
    assert error.max() <= 12  # a step of the 8-bit view is up to 11 of the source where the curve is flat
    assert error.mean() < 3
    assert (np.diff(seen_clean[0].planes()[0].reshape(-1).astype(int)) >= 0).all()


def test_a_pq_picture_looks_to_the_network_like_the_sdr_one_of_the_same_light() -> None:
    """Grey of 18 % at a reference white of 203 cd/m² is 36.5 cd/m², a PQ signal of 0.405."""
    info = stream("yuv420p10le", color_trc=16, color_range=2)
    luma = np.full(HEIGHT * WIDTH, round(0.405 * 1023), "<u2")
    frame = Frame(
        frame_of(info).header, np.concatenate([luma, np.full(HEIGHT * WIDTH // 2, 512, "<u2")]).view(np.uint8)
    )
    (view,) = Restorer(info, RestoreOptions()).views(frame)
    shown = view.planes()[0].mean() / 255
    assert shown == pytest.approx(0.85 * 0.18 ** (1 / 2.4), abs=0.02)


def test_the_fields_of_an_interlaced_frame_are_pictures_of_their_own() -> None:
    info = stream("yuv420p", field_order=2)
    frame = frame_of(info, interlaced=True)
    restorer = Restorer(info, RestoreOptions())
    upper, lower = restorer.views(frame)
    assert (upper.header.height, lower.header.height) == (HEIGHT // 2, HEIGHT // 2)
    for plane, top, bottom in zip(frame.planes(), upper.planes(), lower.planes(), strict=True):
        np.testing.assert_array_equal(plane[0::2], top)
        np.testing.assert_array_equal(plane[1::2], bottom)
    dry = unchanged(lower)
    dry[0] -= 9
    restored = restorer.restored(frame, [upper, lower], [unchanged(upper), dry])
    change = frame.planes()[0].astype(int) - restored.planes()[0]
    assert (change[0::2] == 0).all()
    assert (change[1::2] == 9).all()


# --- Strength, region, rain layer -------------------------------------------------------------------------------------


def ten_darker(view: Frame) -> Planes:
    planes = unchanged(view)
    planes[0] -= 10
    return planes


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("form", ["yuv420p", "yuv422p10le", "rgb24"])
def test_strength_is_the_share_that_is_removed(form: str, strength: float) -> None:
    info = stream(form)
    frame = frame_of(info)
    restored, _ = run(info, frame, ten_darker, strength=strength)
    change = frame.planes()[0].astype(int) - restored.planes()[0]
    assert (change == round(10 * strength) << (pixel_format(form).bits - 8)).all()


def write_mask(path: Path, mask: NDArray[np.uint8]) -> str:
    cv2.imwrite(str(path), mask)
    return str(path)


@pytest.mark.parametrize("interlaced", [False, True], ids=["progressive", "interlaced"])
@pytest.mark.parametrize("form", ["yuv420p", "yuv422p10le", "rgb24", "gray"])
def test_outside_the_region_nothing_changes(tmp_path: Path, form: str, interlaced: bool) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, 8:16] = 255
    info = stream(form)
    frame = frame_of(info, interlaced=interlaced)
    restored, _ = run(info, frame, ten_darker, region=write_mask(tmp_path / "m.png", mask))
    change = frame.planes()[0].astype(int) - restored.planes()[0]
    assert (change[:, 8:16] == 10 << (pixel_format(form).bits - 8)).all()
    change[:, 8:16] = 0
    assert (change == 0).all()


def test_the_region_is_drawn_on_the_upright_picture(tmp_path: Path) -> None:
    info = stream("gray", rotation=90)
    mask = np.zeros((WIDTH, HEIGHT), np.uint8)
    mask[0] = 255  # the upper edge as it is shown
    frame = frame_of(info)
    restored, _ = run(info, frame, ten_darker, region=write_mask(tmp_path / "m.png", mask))
    shown = np.rot90(frame.planes()[0].astype(int) - restored.planes()[0], 1)  # as PictureSink turns it
    assert (shown[0] == 10).all()
    assert (shown[1:] == 0).all()


def test_a_region_of_another_size_is_told(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "m.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(DerainError, match=r"m\.png: is 9x9; make it as large as the video, 32x24"):
        Restorer(stream("yuv420p"), RestoreOptions(region=path))


@pytest.mark.parametrize("interlaced", [False, True], ids=["progressive", "interlaced"])
@pytest.mark.parametrize("form", ["yuv420p", "gray", "rgb24"])
def test_the_rain_layer_and_the_result_make_the_source(form: str, interlaced: bool) -> None:
    info = stream(form)
    frame = frame_of(info, interlaced=interlaced)
    restored, restorer = run(info, frame, ten_darker, save_rain="rain.mkv", strength=0.5)
    assert restorer.rain is not None
    assert restorer.rain.header.pixel_format == form
    for before, after, rain in zip(frame.planes(), restored.planes(), restorer.rain.planes(), strict=True):
        np.testing.assert_array_equal(after.astype(int) + rain - 128, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (RestoreOptions(strength=1.5), "--strength 1.5: takes 0"),
        (RestoreOptions(save_rain="out.mp4"), "is the destination itself"),
        (RestoreOptions(max_memory=-1), "--max-memory -1"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(options: RestoreOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check(options, "out.mp4", False)


def test_a_rain_layer_does_not_replace_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "rain.mkv").touch()
    options = RestoreOptions(save_rain=str(tmp_path / "rain.mkv"))
    with pytest.raises(DerainError, match="exists already"):
        check(options, str(tmp_path / "out.mkv"), False)
    check(options, str(tmp_path / "out.mkv"), True)
