"""Rain for clean clips: falling streaks that stay consistent from frame to frame, and a veil of mist.

A scene is a box of drops a little larger than the picture. Each drop has a place, a distance (its size factor), a
direction and an opacity; from frame to frame it moves on by its speed and leaves the box to enter it elsewhere. What
the camera sees of a drop is the path it falls while the shutter is open: a streak whose length is speed × exposure
(Garg and Nayar, "Vision and Rain", IJCV 2007). Optical depths of streaks that lie over one another add up, so the
opacity of all is ``1 - exp(-sum)``, and the picture is ``O = B (1 - a) + a A`` with the airlight A, which is linear and
so holds for Y and, with the opacity averaged 2×2, for U and V (`training/rain_light.py`).

Lengths, widths and speeds are in pixels of a picture 360 lines high; `RainSettings.scale` takes them to the picture at
hand, so that rain looks alike at any size and a crop of it looks like a crop.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.rain_light import Plane, apply
from training.rain_settings import REFERENCE_HEIGHT, RainSettings

__all__ = ["RainScene", "RainSettings"]


class RainScene:
    """Rain over one picture of (`height`, `width`) pixels, frame after frame. The same `rng` gives the same rain."""

    def __init__(self, settings: RainSettings, height: int, width: int, rng: np.random.Generator) -> None:
        if height < 1 or width < 1:
            raise ValueError(f"rain needs a picture of at least 1×1 pixels, not {width}×{height}")
        self.settings = settings
        self.height, self.width = height, width
        self._rng = rng
        self._swing = float(rng.normal()) * settings.gusts
        self._still: Plane | None = None
        self._sideways = abs(settings.angle) > 45
        self._make_drops()
        self._make_mist()

    def next(self) -> Plane:
        """Opacity of the rain in the next frame: float32 (height, width), 0..1."""
        if self._still is not None:
            return self._still
        clear = self._streaks()
        np.exp(np.negative(clear, out=clear), out=clear)
        if self.settings.mist > 0:
            clear *= 1 - self._veil()
        alpha = np.subtract(np.float32(1), clear, out=clear)
        if self.settings.frozen:
            alpha.setflags(write=False)
            self._still = alpha
        else:
            self._move()
        return alpha

    def onto(self, planes: tuple[Plane, Plane, Plane]) -> tuple[Plane, Plane, Plane]:
        """The next frame's rain laid over Y, U, V as `apply` takes them."""
        return apply(planes, self.next(), self.settings)

    def _make_drops(self) -> None:
        s, rng = self.settings, self._rng
        # Work on the picture turned so that rain falls along its rows' axis: down, however the camera was held.
        height, width = (self.width, self.height) if self._sideways else (self.height, self.width)
        near = s.depth
        reach = s.length * s.scale * near * (1 + 0.8 * s.variety) + 2
        lean = min(np.sin(np.deg2rad(abs(self._lean()) + abs(s.crossing) + 2 * s.spread + 2 * s.gusts)), 1.0)
        self._left = reach * lean + 2 * near * s.width * s.scale
        self._box = (height + reach, width + 2 * self._left)
        # A downpour (intensity 1) has 110 typical streaks per 100×100 reference pixels.
        area = self._box[0] * self._box[1] / (100 * s.scale) ** 2
        count = int(rng.poisson(110 * s.intensity**2 * area))
        size = _power_law(rng, count, 1 / near, near, s.far)
        jitter = rng.uniform(1 - 0.8 * s.variety, 1 + 0.8 * s.variety, count)
        self._length = (s.length * s.scale * size * jitter).astype(np.float32)
        self._speed = (s.length / s.exposure * s.scale * size).astype(np.float32)
        self._half_width = (0.5 * s.width * s.scale * size * rng.uniform(0.75, 1.25, count)).astype(np.float32)
        opaque = np.clip(s.opacity * np.sqrt(size) * rng.uniform(0.4, 1.6, count), 0, 0.98)
        self._depth = -np.log1p(-opaque).astype(np.float32)  # optical depth: adds up where streaks overlap
        turn = rng.normal(0, s.spread, count) + s.crossing * (rng.random(count) < 0.5)
        self._turn = turn.astype(np.float32)
        self._y = rng.uniform(0, self._box[0], count).astype(np.float32)
        self._x = rng.uniform(0, self._box[1], count).astype(np.float32)
        blurred = size > 1 + 0.5 * (near - 1)
        self._groups = [(np.flatnonzero(~blurred), 0.0), (np.flatnonzero(blurred), s.focus * s.scale)]
        if s.focus == 0 or near == 1:
            self._groups = [(np.arange(count), 0.0)]

    def _lean(self) -> float:
        """The main direction from the axis along which rain falls, in degrees."""
        angle = self.settings.angle
        return 90 - abs(angle) if self._sideways else angle

    def _radians(self) -> NDArray[np.float32]:
        angle = np.clip(self._turn + np.float32(self._lean() + self._swing), -70, 70)
        return np.deg2rad(angle)

    def _move(self) -> None:
        s, rng = self.settings, self._rng
        self._swing = 0.97 * self._swing + float(rng.normal()) * s.gusts * np.sqrt(1 - 0.97**2)
        theta = self._radians()
        y = self._y + self._speed * np.cos(theta)
        x = self._x + self._speed * np.sin(theta)
        again_y, again_x = (y >= self._box[0]), (x < 0) | (x >= self._box[1])
        self._y, self._x = y % np.float32(self._box[0]), x % np.float32(self._box[1])
        entered = np.flatnonzero(again_y)
        self._x[entered] = rng.uniform(0, self._box[1], entered.size)
        entered = np.flatnonzero(again_x & ~again_y)
        self._y[entered] = rng.uniform(0, self._box[0], entered.size)

    def _streaks(self) -> Plane:
        """Summed optical depth of all streaks, (height, width)."""
        height, width = (self.width, self.height) if self._sideways else (self.height, self.width)
        theta = self._radians()
        total = np.zeros((height, width), np.float32)
        for chosen, blur in self._groups:
            if not chosen.size:
                continue
            layer = self._draw(chosen, theta[chosen], height, width)
            if blur > 0.05:
                layer = _blur(layer, blur)
            total += layer
        softness = self.settings.softness * self.settings.scale
        if softness > 0.05 and self._length.size:
            total = _blur(total, softness)
        if self._sideways:  # turn back: what fell down now falls to the right, or to the left for a negative angle
            total = total.T if self.settings.angle > 0 else total.T[:, ::-1]
        return np.ascontiguousarray(total, dtype=np.float32)

    def _draw(self, chosen: NDArray[np.intp], theta: NDArray[np.float32], height: int, width: int) -> Plane:
        """Rasterise streaks row by row, each row by the exact part of each pixel that the streak covers."""
        cos, tan = np.cos(theta), np.tan(theta)
        bottom = self._y[chosen]
        fall = self._length[chosen] * cos
        top = bottom - fall
        x_head = self._x[chosen] - np.float32(self._left)
        first = np.maximum(np.floor(top), 0).astype(np.int32)
        last = np.minimum(np.floor(bottom), height - 1).astype(np.int32)
        rows = np.maximum(last - first + 1, 0)
        which = np.repeat(np.arange(chosen.size), rows)
        if not which.size:
            return np.zeros((height, width), np.float32)
        starts = np.cumsum(rows) - rows
        row = np.arange(which.size) - np.repeat(starts - first, rows)
        upper = np.maximum(row, top[which])
        lower = np.minimum(row + 1, bottom[which])
        middle = (upper + lower) * np.float32(0.5)
        back = bottom[which] - middle  # how far above the head, in rows
        weight = (lower - upper) * self._depth[chosen][which]
        along = back / fall[which]  # 0 at the head, 1 at the tail
        weight *= (1 - self.settings.fade * along) * (1 - self.settings.taper * (2 * along - 1) ** 2)
        x = x_head[which] - back * tan[which]
        half = (self._half_width[chosen] / cos)[which]
        left, right = x - half, x + half
        seen = (right > 0) & (left < width)
        row, weight, left, right = row[seen], weight[seen], left[seen], right[seen]
        if not row.size:
            return np.zeros((height, width), np.float32)
        column = np.floor(left)
        pitch = width + 2  # a column more on each side takes what falls outside
        flat = row * pitch
        layer = np.zeros(height * pitch)
        for _ in range(int(np.ceil(2 * half.max())) + 1):
            covered = np.minimum(column + 1, right) - np.maximum(column, left)
            at = flat + np.clip(column + 1, 0, width + 1).astype(np.int64)
            layer += np.bincount(at, weights=np.maximum(covered, 0) * weight, minlength=layer.size)
            column += 1
        return layer.reshape(height, pitch)[:, 1:-1].astype(np.float32)

    def _make_mist(self) -> None:
        """A few slow plane waves, each two outer products: a cheap smooth veil without a border."""
        waves, size = 4, REFERENCE_HEIGHT * self.settings.scale
        self._wave = self._rng.normal(0, 2 * np.pi / size, (2, waves))
        self._phase = self._rng.uniform(0, 2 * np.pi, waves)
        self._drift = self._rng.normal(0, 0.03, waves)

    def _veil(self) -> Plane:
        self._phase = self._phase + self._drift
        y = np.arange(self.height)[:, None] * self._wave[0] + self._phase
        x = self._wave[1][:, None] * np.arange(self.width)
        field = np.cos(y) @ np.cos(x) - np.sin(y) @ np.sin(x)
        veil = np.clip(0.55 + 0.15 * field, 0, 1) * self.settings.mist
        return np.asarray(veil, dtype=np.float32)


def _blur(plane: Plane, sigma: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)


def _power_law(rng: np.random.Generator, count: int, low: float, high: float, exponent: float) -> NDArray[np.float64]:
    """Draw from a density ∝ s^-exponent between `low` and `high` (by its inverse distribution function)."""
    if high <= low:
        return np.ones(count)
    u = rng.random(count)
    power = 1 - exponent
    if abs(power) < 1e-6:
        return np.asarray(low * (high / low) ** u)
    return np.asarray((low**power + u * (high**power - low**power)) ** (1 / power))
