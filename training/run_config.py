"""A training run as a YAML file: every knob, its meaning and its default. Unknown keys are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.packed_clips import DataError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceConfig(_Section):
    """A folder of clean footage and its share of the episodes."""

    path: str
    weight: float = Field(1.0, gt=0)


class DataConfig(_Section):
    """Clean footage; the rain is rendered onto it."""

    clips: tuple[SourceConfig, ...] = ()
    stills: tuple[SourceConfig, ...] = ()
    cache: str = Field("cache", description="folder for decoded clips")
    max_height: int = Field(480, ge=64, description="taller clips are scaled down to this many lines")
    crop: int = Field(96, ge=32, multiple_of=8, description="pixels of a training crop")
    window: int = Field(6, ge=1, description="frames that back-propagation through time spans")
    windows: int = Field(3, ge=1, description="windows in an episode; membranes are carried between them")
    batch: int = Field(4, ge=1, description="streams side by side")
    frozen: float = Field(0.12, ge=0, le=1, description="share of still pictures whose rain stands still")
    forget: float = Field(0.2, ge=0, le=1, description="chance that a stream's membranes are reset before a frame")
    cuts: float = Field(0.05, ge=0, le=1, description="share of episodes with a cut that nobody announces")


class OptimConfig(_Section):
    """AdamW, linear warm-up, cosine decay."""

    steps: int = Field(6000, ge=1)
    lr: float = Field(2e-3, gt=0)
    min_lr: float = Field(1e-5, ge=0)
    warmup: int = Field(100, ge=0)
    weight_decay: float = Field(1e-4, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    ema: float = Field(0.998, ge=0, lt=1, description="decay of the averaged weights that are kept and shipped")


class LossConfig(_Section):
    """Weights of the parts of the loss."""

    luma: float = Field(1.0, ge=0, description="Charbonnier on Y")
    chroma: float = Field(0.5, ge=0, description="Charbonnier on U and V")
    ssim: float = Field(0.1, ge=0, description="1 − SSIM on Y")
    flicker: float = Field(0.0, ge=0, description="Charbonnier on the change from frame to frame")
    evenly: float = Field(
        0.0, ge=0, description="a picture whose rain has a mean error e weighs c / (e + c); this is c, 0 for all alike"
    )


class RunConfig(_Section):
    """One run."""

    name: str
    network: dict[str, Any] = Field(default_factory=dict, description="fields of esdnet.streaming.StreamConfig")
    init: str | None = Field(None, description="weights to begin from: a shipped name or a safetensors file")
    seed: int = 0
    threads: int = Field(1, ge=1, description="CPU threads of the network; the loader has a process of its own")
    device: str = "cpu"
    folder: str = Field("runs", description="checkpoints go to folder/name")
    checkpoint_every: int = Field(200, ge=1)
    log_every: int = Field(20, ge=1)
    data: DataConfig
    optim: OptimConfig = OptimConfig()
    loss: LossConfig = LossConfig()

    @property
    def path(self) -> Path:
        return Path(self.folder) / self.name


def read_run(path: str | Path) -> RunConfig:
    """The run of a YAML file. DataError (one line) where it is missing, no YAML or has an unknown or wrong key."""
    try:
        content = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not YAML ({str(error).splitlines()[0]})") from error
    try:
        return RunConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {where or 'file'}: {first['msg']}") from error
