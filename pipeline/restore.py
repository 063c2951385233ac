"""From a frame of any kind to the 8-bit view of it that a network knows, and from what the network removed there back
to the frame's own samples.

The network's output is a rain layer. Only that layer is brought to the frame's depth, chroma and curve and taken from
the samples the source had, so that a place where nothing was removed comes out bit for bit as it went in:

* A YUV or grey frame is shown as 8-bit 4:2:0 or grey in its own range, RGB as 8-bit RGB. Alpha is neither shown nor
  changed.
* PQ and HLG are shown through `pipeline.hdr.tone_curve`, and the layer comes back through its inverse.
* An interlaced frame is two pictures taken at different moments. Each field is shown by itself, and continues the
  field of the same parity of the frame before: the two have membranes of their own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.colour import is_full_range
from pipeline.formats import PixelFormat, pixel_format
from pipeline.frame import Frame, FrameHeader, StreamInfo
from pipeline.hdr import is_hdr, tone_curve
from pipeline.region import read_region
from pipeline.restore_options import RestoreOptions

Planes = list[NDArray[Any]]

SEEN = {"yuv": "yuv420p", "gray": "gray", "rgb": "rgb24"}
"""Format of the views, by kind of the frame's own."""
_TABLE_BITS = 12
"""Depth to which a sample is reduced to look up what a step of the view means there in the source's own steps."""


class Restorer:
    """Shows the frames of one stream to a network and applies what it removed.

    >>> views = restorer.views(frame)
    >>> frame = restorer.restored(frame, views, [network(view) for view in views])

    Args:
        info: The stream.
        options: Strength and region.

    Raises:
        DerainError: The region cannot be read, or is of another size than the video.
    """

    def __init__(self, info: StreamInfo, options: RestoreOptions) -> None:
        self.info, self._strength = info, options.strength
        self.full_range = is_full_range(info)
        """How to read the views' YUV."""
        self._region = read_region(options.region, info) if options.region else None
        self._weighted = options.strength < 1 or self._region is not None
        self.keep_rain = bool(options.save_rain)
        """Whether `rain` is wanted."""
        self.rain: Frame | None = None
        """What was removed from the frame last restored, in the view's format and range, centred on 128."""

    def views(self, frame: Frame) -> list[Frame]:
        """What the network is to see: one frame, or the two fields of an interlaced one. Each is 8-bit yuv420p, gray or
        rgb24, and continues the view at the same place in the list of the frame before."""
        form = pixel_format(frame.header.pixel_format)
        seen = SEEN[form.kind]
        if form.name == seen and not _by_fields(frame.header) and not is_hdr(self.info.color_trc):
            return [frame]
        return [_view(frame.header, seen, self._seen(planes, form)) for planes in _fields(frame)]

    def restored(self, frame: Frame, views: list[Frame], derained: list[Planes]) -> Frame:
        """The frame without its rain, with the same header.

        Args:
            frame: As it came.
            views: What `views` gave for it.
            derained: For each view the planes the network made of it, of the same shapes, uint8.
        """
        if self.keep_rain:
            self.rain = self._rain(frame.header, views, derained)
        if views[0] is frame and not self._weighted:
            return Frame(frame.header, flat(derained[0]))
        form = pixel_format(frame.header.pixel_format)
        out = Frame(frame.header, frame.pixels.copy())
        for parity, (planes, view, dry) in enumerate(zip(_fields(out), views, derained, strict=True)):
            self._apply(planes, view.planes(), dry, form, parity if len(views) == 2 else None)
        return out

    def _seen(self, planes: Planes, form: PixelFormat) -> Planes:
        """The view of one picture or field."""
        import cv2

        if form.kind == "rgb":
            colours = planes[0][:, :, :3] if form.packed else np.dstack([planes[2], planes[0], planes[1]])
            return [self._to_8_bit(colours, form, luma=True)]
        luma = self._to_8_bit(planes[0], form, luma=True)
        if form.kind == "gray":
            return [luma]
        height, width = luma.shape
        size = ((width + 1) // 2, (height + 1) // 2)
        chroma = [_resized(plane, size) for plane in planes[1:3]]
        if not is_hdr(self.info.color_trc):
            return [luma, *(self._to_8_bit(plane, form, luma=False) for plane in chroma)]
        small = cv2.resize(planes[0], size, interpolation=cv2.INTER_AREA)
        gain = self._chroma_gain(form)[_reduced(small, form)]
        middle, steps = 1 << (form.bits - 1), self._steps(form, luma=False)
        shown = [128 + (plane.astype(np.float32) - middle) / steps * gain for plane in chroma]
        return [luma, *(np.clip(np.rint(plane), 0, 255).astype(np.uint8) for plane in shown)]

    def _to_8_bit(self, samples: NDArray[Any], form: PixelFormat, luma: bool) -> NDArray[np.uint8]:
        import cv2

        if luma and is_hdr(self.info.color_trc):
            shown: NDArray[np.uint8] = np.rint(self._curve(form)[_reduced(samples, form)]).astype(np.uint8)
            return shown
        if form.bits == 8:
            return np.ascontiguousarray(samples)
        made = cv2.convertScaleAbs(np.ascontiguousarray(samples), alpha=1 / self._steps(form, luma))
        return np.asarray(made, np.uint8).reshape(samples.shape)

    def _apply(self, planes: Planes, seen: Planes, dry: Planes, form: PixelFormat, parity: int | None) -> None:
        """Take from `planes`, in place, what `dry` has less than `seen`."""
        for number, (target, change) in enumerate(self._changes(planes, seen, dry, form)):
            if self._weighted:
                change = np.rint(change * self._weight(target.shape, parity, number, form)).astype(np.int32)
            _add(target, change, form.highest)

    def _changes(
        self, planes: Planes, seen: Planes, dry: Planes, form: PixelFormat
    ) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """Each plane that may change, beside the change in its own steps."""
        steps = [after.astype(np.int16) - before for after, before in zip(dry, seen, strict=True)]
        hdr = is_hdr(self.info.color_trc)
        if form.kind == "rgb":
            targets = [planes[0][:, :, n] for n in range(3)] if form.packed else [planes[2], planes[0], planes[1]]
            parts = [steps[0][:, :, n] for n in range(3)]
            return [(t, self._own_steps(t, part, form, hdr)) for t, part in zip(targets, parts, strict=True)]
        luma = (planes[0], self._own_steps(planes[0], steps[0], form, hdr))
        if form.kind == "gray":
            return [luma]
        scale = self._steps(form, luma=False)
        found = [luma]
        for target, part in zip(planes[1:3], steps[1:], strict=True):
            if not part.any():
                continue
            layer = part.astype(np.float32) * scale
            if hdr:
                small = _resized(planes[0], (part.shape[1], part.shape[0]))
                layer /= self._chroma_gain(form)[_reduced(small, form)]
            wide = _resized(layer, (target.shape[1], target.shape[0]))
            found.append((target, np.rint(wide).astype(np.int32)))
        return found

    def _own_steps(self, samples: NDArray[Any], change: NDArray[np.int16], form: PixelFormat, hdr: bool) -> Any:
        if hdr:
            return self._inverse(form)[_reduced(samples, form), change + 255]
        scale = self._steps(form, luma=True)
        if scale == 1 or not change.any():
            return change
        if form.bits <= _TABLE_BITS and scale.is_integer():  # fits into 16 bits
            return change * np.int16(scale)
        return np.rint(change * np.float32(scale)).astype(np.int32)

    def _steps(self, form: PixelFormat, luma: bool) -> float:
        """How many steps of the source's samples make one of 8 bits. Limited range is shifted, full range stretched."""
        if form.kind == "rgb" or (self.full_range and luma):
            return form.highest / 255
        return float(1 << (form.bits - 8))

    def _levels(self, form: PixelFormat) -> tuple[float, float]:
        """Black and the way from there to white, in 8-bit steps."""
        return (0.0, 255.0) if form.kind == "rgb" or self.full_range else (16.0, 219.0)

    def _curve(self, form: PixelFormat) -> NDArray[np.float32]:
        """What is seen of each (reduced) sample, 0..255, not rounded."""
        return _curve_of(self.info.color_trc, min(form.bits, _TABLE_BITS), *self._levels(form))

    def _inverse(self, form: PixelFormat) -> NDArray[np.int32]:
        """(samples, 511): what −255..255 steps of the view are in steps of the source, at each (reduced) sample."""
        return _inverse_of(self.info.color_trc, form.bits, *self._levels(form), self._steps(form, luma=True))

    def _chroma_gain(self, form: PixelFormat) -> NDArray[np.float32]:
        """By how much the curve raises or lowers luma at each (reduced) sample, and chroma with it."""
        bits = min(form.bits, _TABLE_BITS)
        black, way = self._levels(form)
        signal = (np.arange(1 << bits, dtype=np.float32) / (1 << (bits - 8)) - black) / way
        shown = (self._curve(form) - black) / way
        return np.clip(shown / np.maximum(signal, 1e-3), 0.5, 2.0).astype(np.float32)

    def _weight(self, shape: tuple[int, ...], parity: int | None, number: int, form: PixelFormat) -> Any:
        """The share to remove, a number or (H, W) for a plane of this shape."""
        if self._region is None:
            return np.float32(self._strength)
        region = self._region if parity is None else self._region[parity::2]
        return _resized(region, (shape[1], shape[0])) * np.float32(self._strength)

    def _rain(self, header: FrameHeader, views: list[Frame], derained: list[Planes]) -> Frame:
        """The layer that is taken away, made of the views."""
        made = Frame(
            msgspec.structs.replace(header, pixel_format=views[0].header.pixel_format),
            np.empty(sum(view.pixels.size for view in views), np.uint8),
        )
        form = pixel_format(made.header.pixel_format)
        low, high = (0, 255) if self.full_range or form.kind == "rgb" else (16, 235)
        targets = [made.planes()] if len(views) == 1 else _fields(made)
        for parity, (planes, view, dry) in enumerate(zip(targets, views, derained, strict=True)):
            for number, (target, before, after) in enumerate(zip(planes, view.planes(), dry, strict=True)):
                removed = before.astype(np.int16) - after
                if self._weighted:
                    weight = self._weight(removed.shape, parity if len(views) == 2 else None, number, form)
                    removed = np.rint(removed * (weight[..., None] if removed.ndim == 3 and weight.ndim else weight))
                rows = removed[: target.shape[0]]
                target[...] = np.clip(128 + rows, low, high if number == 0 else 240 if high == 235 else 255)
        return made


def _add(target: NDArray[Any], change: NDArray[Any], highest: int) -> None:
    """Add in place, stopping at 0 and at the highest value."""
    import cv2

    if not change.any():
        return
    if target.flags.c_contiguous and change.dtype == np.int16:
        cv2.add(target, change, dst=target, dtype=cv2.CV_8U if target.itemsize == 1 else cv2.CV_16U)
        if highest < 65535 and target.itemsize > 1:
            np.minimum(target, target.dtype.type(highest), out=target)
        return
    np.copyto(target, np.clip(target + change.astype(np.int32), 0, highest), casting="unsafe")


def flat(planes: Planes) -> NDArray[np.uint8]:
    """Planes of one type one after the other, as `Frame.pixels`."""
    parts = [np.ascontiguousarray(plane).reshape(-1).view(np.uint8) for plane in planes]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _by_fields(header: FrameHeader) -> bool:
    return header.interlaced and header.height > 1


def _fields(frame: Frame) -> list[Planes]:
    """The planes of the frame, or of its upper and its lower field: views, no copy."""
    planes = frame.planes()
    if not _by_fields(frame.header):
        return [planes]
    return [[plane[parity::2] for plane in planes] for parity in (0, 1)]


def _view(header: FrameHeader, form: str, planes: Planes) -> Frame:
    height, width = planes[0].shape[:2]
    changed = msgspec.structs.replace(header, pixel_format=form, width=width, height=height, interlaced=False)
    return Frame(changed, flat(planes))


def _resized(plane: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """To (width, height): averaged where it shrinks, bilinear where it grows; the same array if it fits already."""
    import cv2

    width, height = size
    if plane.shape == (height, width):
        return plane
    shrinks = width <= plane.shape[1] and height <= plane.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(plane), size, interpolation=how))


def _reduced(samples: NDArray[Any], form: PixelFormat) -> NDArray[Any]:
    return samples >> (form.bits - _TABLE_BITS) if form.bits > _TABLE_BITS else samples


@lru_cache(maxsize=4)
def _curve_of(trc: int, bits: int, black: float, way: float) -> NDArray[np.float32]:
    signal, seen = tone_curve(trc)
    codes = (np.arange(1 << bits) / (1 << (bits - 8)) - black) / way
    return (black + way * np.interp(codes, signal, seen)).astype(np.float32)


@lru_cache(maxsize=4)
def _inverse_of(trc: int, bits: int, black: float, way: float, steps: float) -> NDArray[np.int32]:
    signal, seen = tone_curve(trc)
    kept = min(bits, _TABLE_BITS)
    codes = np.clip((np.arange(1 << kept) / (1 << (kept - 8)) - black) / way, 0, 1)
    shown = np.interp(codes, signal, seen)[:, None]
    after = np.clip(shown + np.arange(-255, 256)[None] / way, 0, 1)
    moved = np.interp(after.reshape(-1), seen, signal).reshape(after.shape) - np.interp(shown, seen, signal)
    return np.rint(moved * way * steps).astype(np.int32)
