"""A training run as a YAML file: every knob, its meaning and its default. Unknown keys are refused."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, ValidationError, field_validator, model_validator

from training.packed_clips import DataError
from training.rain_settings import RAIN_KINDS, RainKind


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SourceConfig(_Section):
    """A folder of clean footage and its share of the episodes."""

    path: str
    weight: float = Field(1.0, gt=0, le=1e6)


class PairsConfig(_Section):
    """A folder of rainy and clean pictures or clips and its share of the episodes."""

    path: str
    layout: str = Field("auto", description="a name of training.layouts; auto tells by the names of the files")
    weight: float = Field(1.0, gt=0, le=1e6)


class DataConfig(_Section):
    """Clean footage that rain is rendered onto, and pairs that come with their rain."""

    clips: tuple[SourceConfig, ...] = ()
    stills: tuple[SourceConfig, ...] = ()
    pairs: tuple[PairsConfig, ...] = ()
    workers: int = Field(
        1, ge=1, le=256, description="loader processes; raise it where much time is spent waiting for data"
    )
    cache: str = Field("cache", description="folder for decoded clips")
    max_height: int = Field(480, ge=64, description="taller clips are scaled down to this many lines")
    crop: int = Field(
        96, ge=32, le=4096, multiple_of=8, description="pixels of a training crop (kind esdnet: of a patch)"
    )
    window: int = Field(6, ge=1, description="frames that back-propagation through time spans")
    windows: int = Field(3, ge=1, description="windows in an episode; membranes are carried between them")
    batch: int = Field(4, ge=1, le=4096, description="streams (kind esdnet: patches) side by side, in each process")
    rain: dict[RainKind, NonNegativeFloat] = Field(
        default_factory=dict,
        description="weight of each kind of rain named here; those left out have theirs of training.rain_settings",
    )
    frozen: float = Field(0.12, ge=0, le=1, description="share of still pictures whose rain stands still")
    singles: int = Field(
        0, ge=0, description="streams of the batch whose every frame is another scene, for what one picture tells"
    )
    forget: float = Field(0.2, ge=0, le=1, description="chance that a stream's membranes are reset before a frame")
    cuts: float = Field(0.05, ge=0, le=1, description="share of episodes with a cut that nobody announces")
    recompressed: float = Field(0.5, ge=0, le=1, description="share of episodes whose rainy frames go through H.264")
    crf: tuple[float, float] = Field((12.0, 27.0), description="range of its constant rate factor; higher is coarser")
    occluded: float = Field(0.15, ge=0, le=1, description="share of clean scenes with another one in front of them")
    captioned: float = Field(0.3, ge=0, le=1, description="share of episodes with text, frames and emblems over them")
    sharpened: float = Field(0.3, ge=0, le=1, description="share of still pictures that are sharpened, as cameras do")
    rims: float = Field(0.3, ge=0, le=1, description="share of still pictures that get bent rims of light")
    poles: float = Field(0.3, ge=0, le=1, description="share of still pictures that get poles, pipes and cables")
    fences: float = Field(0.2, ge=0, le=1, description="share of still pictures that get rows of bars, all alike")
    blades: float = Field(0.15, ge=0, le=1, description="share of still pictures that get grass, straw or fur")
    lattices: float = Field(0.3, ge=0, le=1, description="share of still pictures that get walls of bricks or meshes")

    @property
    def rain_kinds(self) -> dict[RainKind, float]:
        """Every kind of rain and its weight."""
        return RAIN_KINDS | self.rain

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.singles > self.batch:
            raise ValueError(f"singles: {self.singles} of a batch of {self.batch} streams; take fewer")
        if not 0 <= self.crf[0] <= self.crf[1] <= 51:
            raise ValueError(f"crf: {self.crf[0]:g} to {self.crf[1]:g} is no range within 0 to 51")
        if not 0 < sum(self.rain_kinds.values()) < math.inf:
            raise ValueError("rain: some kind of rain must have a weight above 0, and a finite one")
        return self


class OptimConfig(_Section):
    """AdamW or Muon (`training.optimizer`), linear warm-up, cosine decay."""

    steps: int = Field(6000, ge=1)
    epochs: float | None = Field(None, gt=0, description="instead of steps: passes over data.pairs (kind esdnet)")
    lr: float = Field(2e-3, gt=0)
    min_lr: float = Field(1e-5, ge=0)
    warmup: int = Field(100, ge=0, description="steps")
    warmup_epochs: float | None = Field(None, ge=0, description="instead of warmup, with epochs")
    muon: bool = Field(False, description="kernels by Muon instead of AdamW, with steps of the same size")
    accumulate: int = Field(1, ge=1, description="batches whose gradients are averaged for one step")
    weight_decay: float = Field(1e-4, ge=0)
    clip_norm: float | None = Field(1.0, gt=0, description="greatest norm of the gradient; null for any")
    ema: float = Field(0.998, ge=0, lt=1, description="decay of the averaged weights that are kept and shipped")


class LossConfig(_Section):
    """Weights of the parts of the loss."""

    luma: float = Field(1.0, ge=0, description="Charbonnier on Y")
    chroma: float = Field(0.5, ge=0, description="Charbonnier on U and V")
    ssim: float = Field(0.1, ge=0, description="1 − SSIM on Y")
    psnr: float = Field(0.0, ge=0, description="logarithm of each picture's mean squared error of Y")
    flicker: float = Field(0.0, ge=0, description="Charbonnier on the change from frame to frame")
    evenly: float = Field(
        0.0, ge=0, description="a picture whose rain has a mean error e weighs c / (e + c); this is c, 0 for all alike"
    )


class TeacherConfig(_Section):
    """Weights whose pictures are part of what is to be learnt (`training.teacher`)."""

    model: str = Field(description="a shipped name or a safetensors file, of a network for video")
    share: float = Field(0.5, gt=0, le=1, description="of the target; the rest is the clean frame's")


class RunConfig(_Section):
    """One run."""

    name: str
    network: dict[str, Any] = Field(
        default_factory=dict,
        description="kind (stream or esdnet) and fields of its config class; left out: the shape of init",
    )
    init: str | None = Field(None, description="weights to begin from: a shipped name or a safetensors file")
    teacher: TeacherConfig | None = Field(None, description="larger weights to learn from, beside the clean frames")
    seed: int = Field(0, ge=0, lt=2**32)
    threads: int = Field(
        1, ge=1, le=1024, description="CPU threads of the network; the loader has a process of its own"
    )
    device: str = Field("cpu", description="cpu or cuda; torchrun gives each process a card of its own")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="of the convolutions; everything else, membranes above all, stays float32"
    )
    folder: str = Field("runs", description="checkpoints go to folder/name")
    checkpoint_every: int = Field(200, ge=1)
    log_every: int = Field(20, ge=1)
    data: DataConfig
    optim: OptimConfig = OptimConfig()
    loss: LossConfig = LossConfig()

    @property
    def path(self) -> Path:
        return Path(self.folder) / self.name

    @property
    def kind(self) -> str:
        """Which network: stream (the default) or esdnet."""
        return str(self.network.get("kind", "stream"))

    @property
    def shape(self) -> dict[str, Any]:
        """The fields of the network's config."""
        return {key: value for key, value in self.network.items() if key != "kind"}

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not name.strip() or name in (".", "..") or set(name) & {"/", "\\", "\0"}:
            raise ValueError(f"{name!r} names no folder; a run's name is a word, and folder says where runs go")
        return name

    @model_validator(mode="after")
    def _fits_together(self) -> RunConfig:
        if self.kind not in ("stream", "esdnet"):
            raise ValueError(f"network.kind is {self.kind!r}: it must be stream or esdnet")
        if self.optim.epochs is not None and self.kind != "esdnet":
            raise ValueError("optim.epochs counts passes over pictures, for kind esdnet; a stream has optim.steps")
        if self.optim.warmup_epochs is not None and self.optim.epochs is None:
            raise ValueError("optim.warmup_epochs needs optim.epochs")
        if self.data.workers > self.data.batch and self.kind == "stream":
            raise ValueError(f"data.workers: at most one a stream, data.batch is {self.data.batch}")
        return self


def read_run(path: str | Path) -> RunConfig:
    """The run of a YAML file. DataError (one line) where it is missing, no YAML or has an unknown or wrong key."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise DataError(f"{path}: {where}not YAML ({error.problem or error.context})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not YAML (no UTF-8 text)") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not YAML ({str(error).splitlines()[0]})") from error
    try:
        return RunConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            said = f"no such key{_alike(str(first['loc'][-1]))}; training/run_config.py has them all"
        raise DataError(f"{path}: {where or 'file'}: {said}") from error


def _alike(name: str) -> str:
    """What may have been meant by a key that is none."""
    known = {key.rpartition(".")[2]: key for key in reversed(list(_keys(RunConfig)))}
    near = difflib.get_close_matches(name, known, 1)
    return f" (is {known[near[0]]} meant?)" if near else ""


def _keys(section: type[BaseModel], above: str = "") -> Iterator[str]:
    """All keys, with those of the sections that they are in before them: data.crop."""
    for name, field in section.model_fields.items():
        yield above + name
        kinds = [field.annotation, *get_args(field.annotation)]
        for inner in (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)):
            yield from _keys(inner, f"{above}{name}.")
