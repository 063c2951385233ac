"""Rain for clean clips: falling streaks that stay consistent from frame to frame, and a veil of mist.

A scene is a box of drops a little larger than the picture. Each drop has a place, a distance (its size factor), a
direction and an opacity; from frame to frame it moves on by its speed and leaves the box to enter it elsewhere. What
the camera sees of a drop is the path it falls while the shutter is open: a streak whose length is speed × exposure
(Garg and Nayar, "Vision and Rain", IJCV 2007). Optical depths of streaks that lie over one another add up, so the
opacity of all is ``1 - exp(-sum)``, and the picture is ``O = B (1 - a) + a A`` with the airlight A, which is linear and
so holds for Y and, with the opacity averaged 2×2, for U and V.

Lengths, widths and speeds are in pixels of a picture 360 lines high; `RainSettings.scale` takes them to the picture at
hand, so that rain looks alike at any size and a crop of it looks like a crop.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Plane = NDArray[np.float32]
Airlight = tuple[float, float, float]

REFERENCE_HEIGHT = 360
"""Lines of the picture in whose pixels the settings are meant."""


class RainSettings(BaseModel):
    """How it rains. Sizes are in pixels of a 360-line picture (see `scale`), angles in degrees."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    intensity: float = Field(0.4, ge=0, le=1)
    """How many streaks, 0 (none) to 1 (a downpour that covers most of the picture); grows as its square."""
    length: float = Field(25.0, ge=1, le=200)
    """Typical streak length in pixels: the way a middle-distance drop falls while the shutter is open."""
    exposure: float = Field(0.3, ge=0.02, le=1)
    """Part of the frame interval for which the shutter is open; a drop's speed is its length / exposure."""
    width: float = Field(1.2, ge=0.1, le=12)
    """Typical streak width in pixels; below 1 a streak is fainter, not narrower."""
    depth: float = Field(2.5, ge=1, le=8)
    """Nearest over typical and typical over farthest size: 1 means that all drops are equally far."""
    far: float = Field(1.5, ge=0, le=4)
    """How much far drops outnumber near ones: the exponent p of the density of sizes, s^-p."""
    opacity: float = Field(0.25, ge=0, le=1)
    """Opacity of a typical streak; near ones are more, far ones less opaque."""
    fade: float = Field(0.3, ge=0, le=1)
    """How much a streak fades from its head to its tail."""
    focus: float = Field(0.6, ge=0, le=4)
    """Out-of-focus blur (sigma in pixels) of the drops nearest to the camera."""
    softness: float = Field(0.4, ge=0, le=3)
    """Blur (sigma in pixels) of all rain: lens, scaling and compression."""
    angle: float = Field(5.0, ge=-90, le=90)
    """Direction of fall from the vertical; positive falls to the right. ±90 is a picture filmed sideways."""
    spread: float = Field(1.5, ge=0, le=20)
    """Standard deviation of the drops' directions."""
    crossing: float = Field(0.0, ge=-60, le=60)
    """Half of the drops fall in a direction turned by this much; 0 for one direction."""
    gusts: float = Field(1.5, ge=0, le=20)
    """Standard deviation of the slow swing of all directions over time."""
    brightness: float = Field(0.85, ge=0, le=1)
    """Luma of the light the streaks scatter (airlight), 0 black to 1 white."""
    blueness: float = Field(0.01, ge=-0.1, le=0.1)
    """Tint of that light: added to U, half of it taken from V (chroma -0.5..0.5)."""
    blend: Literal["over", "add"] = "over"
    """`over`: streaks hide what is behind them. `add`: their light is added, as in Rain100L and Rain100H."""
    mist: float = Field(0.0, ge=0, le=0.5)
    """Greatest opacity of the slowly moving veil."""
    scale: float = Field(1.0, gt=0, le=16)
    """Pixels of the picture to one pixel of a 360-line picture."""
    frozen: bool = False
    """Rain that stands still: every frame gets the same streaks (a standing picture shown as a clip)."""

    @classmethod
    def sample(cls, rng: np.random.Generator, *, height: int, frozen: bool = False) -> RainSettings:
        """Draw settings as varied as rain is in the wild and in the benchmarks.

        `height` is that of the whole picture in pixels, also where only a crop of it is to be rained on.
        About 6 % are dry; most are thin, faint and fast; some are heavy, long, wide, or fall in two directions.
        """

        def uniform(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        def log(low: float, high: float) -> float:
            return float(np.exp(rng.uniform(np.log(low), np.log(high))))

        kind = str(rng.choice(["dry", "real", "rendered", "bold", "heavy"], p=[0.06, 0.29, 0.37, 0.16, 0.12]))
        sideways = rng.random() < 0.05
        angle = 90 * float(rng.choice([-1, 1])) if sideways else 0.0
        angle = float(np.clip(angle + rng.normal(0, 14), -90, 90))
        knobs: dict[str, float | str] = {
            "angle": angle,
            "gusts": uniform(0, 3),
            "spread": log(0.3, 5),
            "brightness": uniform(0.6, 1.0),
            "blueness": float(rng.normal(0.006, 0.01)),
            "mist": log(0.005, 0.08) if rng.random() < 0.3 else 0.0,
            "exposure": log(0.08, 1.0),
            "fade": uniform(0, 0.8),
            "focus": uniform(0, 1.5),
            "far": uniform(0.3, 2),
        }
        if kind == "dry":
            knobs |= {"intensity": 0.0, "mist": 0.0}
        elif kind == "real":  # filmed rain: thin, short to middling, soft
            knobs |= {"intensity": uniform(0.2, 0.65), "length": log(6, 40), "width": log(0.6, 1.6)}
            knobs |= {"opacity": log(0.1, 0.6), "depth": uniform(1.3, 3.5), "softness": uniform(0.2, 0.8)}
        elif kind == "rendered":  # video benchmarks: long, fast, half transparent
            knobs |= {"intensity": uniform(0.2, 0.65), "length": log(12, 60), "width": log(0.7, 1.9)}
            knobs |= {"opacity": log(0.1, 0.4), "depth": uniform(1.1, 2.5), "softness": uniform(0.1, 0.6)}
        elif kind == "bold":  # Rain100L: few, bright, sharp
            knobs |= {"intensity": uniform(0.2, 0.5), "length": log(10, 45), "width": log(1.0, 2.8)}
            knobs |= {"opacity": log(0.2, 0.8), "depth": uniform(1, 2), "softness": uniform(0, 0.5)}
            knobs |= {"blend": str(rng.choice(["over", "add"]))}
        else:  # Rain100H and downpours: dense, long, wide, often in crossed directions
            knobs |= {"intensity": uniform(0.5, 1.0), "length": log(25, 80), "width": log(1.0, 2.8)}
            knobs |= {"opacity": log(0.12, 0.55), "depth": uniform(1, 1.8), "softness": uniform(0, 0.5)}
            knobs |= {"blend": str(rng.choice(["over", "add"])), "spread": log(0.5, 6), "brightness": uniform(0.75, 1)}
            if rng.random() < 0.5:
                knobs["crossing"] = uniform(8, 40) * float(rng.choice([-1, 1]))
        return cls.model_validate(knobs | {"scale": height / REFERENCE_HEIGHT, "frozen": frozen})


class RainScene:
    """Rain over one picture of (`height`, `width`) pixels, frame after frame. The same `rng` gives the same rain."""

    def __init__(self, settings: RainSettings, height: int, width: int, rng: np.random.Generator) -> None:
        if height < 1 or width < 1:
            raise ValueError(f"rain needs a picture of at least 1×1 pixels, not {width}×{height}")
        self.settings = settings
        self.height, self.width = height, width
        self.airlight: Airlight = (settings.brightness, settings.blueness, -settings.blueness / 2)
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
        """The next frame's rain laid over Y, U, V as `apply` takes them, in this scene's way of blending."""
        return apply(planes, self.next(), self.airlight, self.settings.blend)

    def _make_drops(self) -> None:
        s, rng = self.settings, self._rng
        # Work on the picture turned so that rain falls along its rows' axis: down, however the camera was held.
        height, width = (self.width, self.height) if self._sideways else (self.height, self.width)
        near = s.depth
        reach = s.length * s.scale * near * 1.3 + 2
        lean = min(np.sin(np.deg2rad(abs(self._lean()) + abs(s.crossing) + 2 * s.spread + 2 * s.gusts)), 1.0)
        self._top, self._left = reach, reach * lean + 2 * near * s.width * s.scale
        self._box = (height + reach, width + 2 * self._left)
        # A downpour (intensity 1) has 110 typical streaks per 100×100 reference pixels.
        area = self._box[0] * self._box[1] / (100 * s.scale) ** 2
        count = int(rng.poisson(110 * s.intensity**2 * area))
        size = _power_law(rng, count, 1 / near, near, s.far)
        jitter = rng.uniform(0.7, 1.3, count)
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
        return float(np.copysign(90, angle)) - angle if self._sideways else angle

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
        weight *= 1 - self.settings.fade * back / fall[which]
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


def apply(
    planes: tuple[Plane, Plane, Plane], alpha: Plane, airlight: Airlight, blend: Literal["over", "add"] = "over"
) -> tuple[Plane, Plane, Plane]:
    """Lay rain of opacity `alpha` (H, W) over a picture.

    `planes`: Y (H, W) in 0..1, U and V ((H+1)//2, (W+1)//2) in -0.5..0.5, float32. Returns new planes, Y in 0..1.
    """
    luma, *chroma = planes
    small = halve(alpha)
    if blend == "add":
        wet = [luma + alpha * np.float32(airlight[0])]
        wet += [c + small * np.float32(a) for c, a in zip(chroma, airlight[1:], strict=True)]
        # Light that would pass white is cut off, and with it the colour goes towards grey.
        over = halve(np.maximum(wet[0] - 1, 0))
        wet[1:] = [c * (1 - np.minimum(2 * over, 1)) for c in wet[1:]]
    else:
        wet = [luma + alpha * (np.float32(airlight[0]) - luma)]
        wet += [c + small * (np.float32(a) - c) for c, a in zip(chroma, airlight[1:], strict=True)]
    return np.clip(wet[0], 0, 1), wet[1], wet[2]


def halve(plane: Plane) -> Plane:
    """Means of 2×2 pixels, (H, W) to ((H+1)//2, (W+1)//2): luma to chroma size. Odd edges are repeated."""
    height, width = plane.shape
    if height % 2 or width % 2:
        plane = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")
    return np.asarray(
        (plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]) * np.float32(0.25), np.float32
    )


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
