"""What there is to choose about rain, and how to draw it as varied as rain is in the wild and in the benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

REFERENCE_HEIGHT = 360
"""Lines of the picture in whose pixels the settings are meant."""

RainKind = Literal["dry", "real", "rendered", "effect", "bold", "heavy", "storm"]

RAIN_KINDS: dict[RainKind, float] = {
    "dry": 0.14, "real": 0.17, "rendered": 0.13, "effect": 0.22, "bold": 0.21, "heavy": 0.03, "storm": 0.10,
}  # fmt: skip
"""Kinds of rain that `RainSettings.sample` draws from, and how often each."""


class RainSettings(BaseModel):
    """How it rains. Sizes are in pixels of a 360-line picture (see `scale`), angles in degrees."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    intensity: float = Field(default=0.4, ge=0, le=1)
    """How many streaks, 0 (none) to 1 (a downpour that covers most of the picture); grows as its square."""
    length: float = Field(default=25.0, ge=1, le=200)
    """Typical streak length in pixels: the way a middle-distance drop falls while the shutter is open."""
    exposure: float = Field(default=0.3, ge=0.02, le=1)
    """Part of the frame interval for which the shutter is open; a drop's speed is its length / exposure."""
    width: float = Field(default=1.2, ge=0.1, le=12)
    """Typical streak width in pixels; below 1 a streak is fainter, not narrower."""
    depth: float = Field(default=2.5, ge=1, le=8)
    """Nearest over typical and typical over farthest size: 1 means that all drops are equally far."""
    far: float = Field(default=1.5, ge=0, le=4)
    """How much far drops outnumber near ones: the exponent p of the density of sizes, s^-p."""
    opacity: float = Field(default=0.25, ge=0, le=1)
    """Opacity of a typical streak; near ones are more, far ones less opaque."""
    fade: float = Field(default=0.3, ge=0, le=1)
    """How much a streak fades from its head to its tail."""
    taper: float = Field(default=0.3, ge=0, le=1)
    """How much a streak thins out towards both of its ends: 0 leaves them blunt, 1 lets them vanish."""
    variety: float = Field(default=0.375, ge=0, le=1)
    """How much streaks at the same distance differ in length: by this share of 80 % either way."""
    focus: float = Field(default=0.6, ge=0, le=4)
    """Out-of-focus blur (sigma in pixels) of the drops nearest to the camera."""
    softness: float = Field(default=0.4, ge=0, le=3)
    """Blur (sigma in pixels) of all rain: lens, scaling and compression."""
    angle: float = Field(default=5.0, ge=-90, le=90)
    """Direction of fall from the vertical; positive falls to the right. ±90 is a picture filmed sideways."""
    spread: float = Field(default=1.5, ge=0, le=20)
    """Standard deviation of the drops' directions."""
    crossing: float = Field(default=0.0, ge=-60, le=60)
    """Half of the drops fall in a direction turned by this much; 0 for one direction."""
    gusts: float = Field(default=1.5, ge=0, le=20)
    """Standard deviation of the slow swing of all directions over time."""
    brightness: float = Field(default=0.85, ge=0, le=1)
    """Luma of the light the streaks scatter (airlight), 0 black to 1 white."""
    blueness: float = Field(default=0.01, ge=-0.1, le=0.1)
    """Tint of that light: added to U, half of it taken from V (chroma -0.5..0.5)."""
    reflection: float = Field(default=0.0, ge=0, le=1)
    """Share of the streaks' light that comes from the picture around them."""
    surroundings: tuple[float, float] = (100.0, 20.0)
    """Width and height in pixels of what is around them."""
    blend: Literal["over", "add", "lighten"] = "over"
    """`over`: streaks hide what is behind them. `add`: their light is added, as in Rain100L and Rain100H.
    `lighten`: they are seen only where they are the lighter."""
    mist: float = Field(default=0.0, ge=0, le=0.5)
    """Greatest opacity of the slowly moving veil."""
    scale: float = Field(default=1.0, gt=0, le=16)
    """Pixels of the picture to one pixel of a 360-line picture."""
    frozen: bool = False
    """Rain that stands still: every frame gets the same streaks (a standing picture shown as a clip)."""

    @classmethod
    def sample(
        cls,
        rng: np.random.Generator,
        *,
        height: int,
        frozen: bool = False,
        kinds: Mapping[RainKind, float] = RAIN_KINDS,
    ) -> RainSettings:
        """Draw settings as varied as rain is in the wild and in the benchmarks.

        `height` is that of the whole picture in pixels, also where only a crop of it is to be rained on. `kinds` gives
        each kind's weight (a share of their sum).
        One in seven is dry; most are thin, faint and fast; some are heavy, long, wide, or fall in two directions; some
        are drawn as video tools do; in some a few unsharp streaks close to the camera lie over fine rain far from it.
        """

        def uniform(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        def log(low: float, high: float) -> float:
            return float(np.exp(rng.uniform(np.log(low), np.log(high))))

        total = sum(kinds.values())
        kind = str(rng.choice(list(kinds), p=[weight / total for weight in kinds.values()]))
        # Wind, and a camera that drives, slant rain as far as this: with a narrow spread about the vertical the network
        # left diagonal rain alone, however plain it was.
        upright, slanted = rng.normal(0, 12), uniform(-55, 55)
        sideways = 90 * float(rng.choice([-1, 1])) + rng.normal(0, 12)
        directions = [0.27, 0.70, 0.03] if kind == "storm" else [0.62, 0.35, 0.03]
        angle = float(np.clip(rng.choice([upright, slanted, sideways], p=directions), -90, 90))
        shown: dict[str, object] = {}
        knobs: dict[str, float | str] = {
            "angle": angle,
            "gusts": uniform(0, 3),
            "spread": log(0.3, 5),
            "brightness": uniform(0.6, 1.0),
            "blueness": float(rng.normal(0.006, 0.01)),
            "mist": log(0.005, 0.08) if rng.random() < 0.3 else 0.0,
            "exposure": log(0.08, 1.0),
            "fade": uniform(0, 0.8),
            "taper": uniform(0, 1),
            "variety": uniform(0.2, 0.8),
            "focus": uniform(0, 1.5),
            "far": uniform(0.3, 2),
        }
        if kind == "dry":
            knobs |= {"intensity": 0.0, "mist": 0.0}
        elif kind == "real":  # filmed rain: thin, short to middling, soft
            knobs |= {"intensity": uniform(0.2, 0.75), "length": log(6, 60), "width": log(0.6, 1.8)}
            knobs |= {"opacity": log(0.07, 0.6), "depth": uniform(1.3, 3.5), "softness": uniform(0.2, 0.8)}
        elif kind == "rendered":  # video benchmarks: long, fast, half transparent
            knobs |= {"intensity": uniform(0.2, 0.65), "length": log(12, 60), "width": log(0.7, 1.9)}
            knobs |= {"opacity": log(0.1, 0.4), "depth": uniform(1.1, 2.5), "softness": uniform(0.1, 0.6)}
            if rng.random() < 0.3:  # a deep scene
                knobs |= {"depth": log(2, 5), "far": uniform(1.5, 3.2), "intensity": uniform(0.35, 0.85)}
        elif kind == "effect":  # a video tool's rain: a deep box of sharp drops, most of their light from around
            knobs |= {"intensity": uniform(0.3, 0.9), "length": log(8, 60), "width": log(0.6, 2.2)}
            knobs |= {"opacity": log(0.3, 0.97), "depth": log(1.5, 6), "softness": uniform(0.1, 0.5)}
            knobs |= {"far": uniform(1, 3), "focus": uniform(0, 0.6), "spread": log(0.5, 8), "gusts": uniform(0, 1)}
            knobs |= {"brightness": uniform(0.85, 1), "fade": uniform(0, 0.4), "mist": 0.0}
            shown["reflection"] = uniform(0.6, 0.9) if rng.random() < 0.75 else uniform(0, 0.6)
            shown["blend"] = str(rng.choice(["over", "lighten"], p=[0.3, 0.7]))
            shown["surroundings"] = (log(50, 200), log(6, 25))
        elif kind == "bold":  # Rain100L: bright, parallel, of all lengths, thinning out at both ends
            knobs |= {"intensity": uniform(0.25, 0.7), "length": log(8, 55), "width": log(0.7, 1.9)}
            knobs |= {"opacity": log(0.15, 0.85), "depth": uniform(1, 2.2), "softness": uniform(0.1, 0.7)}
            knobs |= {"blend": str(rng.choice(["over", "add", "add"])), "spread": log(0.2, 3)}
            knobs |= {"taper": uniform(0.4, 1), "variety": uniform(0.4, 1), "fade": uniform(0, 0.4)}
        elif kind == "storm":  # filmed downpours: fine dense rain far off, a few long, wide, unsharp streaks close by
            knobs |= {"intensity": uniform(0.35, 0.9), "length": log(12, 42), "width": log(0.7, 1.6)}
            knobs |= {"opacity": log(0.06, 0.3), "depth": log(2.5, 7), "softness": uniform(0.3, 0.8)}
            knobs |= {"far": uniform(1.2, 2.4), "focus": uniform(0.5, 3), "taper": uniform(0.3, 1)}
            knobs |= {"spread": log(0.5, 4), "exposure": log(0.15, 1.0)}
        else:  # Rain100H and downpours: dense, long, wide, often in crossed directions
            knobs |= {"intensity": uniform(0.5, 1.0), "length": log(25, 80), "width": log(1.0, 2.8)}
            knobs |= {"opacity": log(0.12, 0.55), "depth": uniform(1, 1.8), "softness": uniform(0, 0.5)}
            knobs |= {"blend": str(rng.choice(["over", "add"])), "spread": log(0.5, 6), "brightness": uniform(0.75, 1)}
            if rng.random() < 0.5:
                knobs["crossing"] = uniform(8, 40) * float(rng.choice([-1, 1]))
        reflecting = {"real": 0.55, "rendered": 0.6, "storm": 0.5, "heavy": 0.4}
        if rng.random() < reflecting.get(kind, 0) and knobs.get("blend", "over") == "over":
            share = uniform(0.2, 0.9)
            # Light like that around it shows less: such rain is as plain as other rain only where it is more opaque.
            knobs["opacity"] = min(float(knobs["opacity"]) / (1 - 0.75 * share), 0.95)
            shown["blend"] = str(rng.choice(["over", "lighten"]))
            shown |= {"reflection": share, "surroundings": (log(20, 160), log(6, 60))}
        shown |= {"scale": height / REFERENCE_HEIGHT, "frozen": frozen}
        return cls.model_validate(knobs | shown)
