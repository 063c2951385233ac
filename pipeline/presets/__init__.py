"""Named sets of options for `derain batch --preset`: YAML files beside this one, or one of the user's own."""

from __future__ import annotations

import os
from importlib.resources import files

import pydantic
import yaml

from pipeline.errors import DerainError, UsageError


class Preset(pydantic.BaseModel):
    """What a preset may say; None leaves it to the default, and options on the command line override it."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    model: str | None = None
    runtime: str | None = None
    codec: str | None = None
    crf: float | None = None
    preset: str | None = None  # the encoder's own
    pixel_format: str | None = None
    container: str | None = None  # ending of the results without the dot; None: the source's, where it can be written
    strength: float | None = None
    deinterlace: bool | None = None


def names() -> list[str]:
    """The presets that come with derain."""
    return sorted(str(entry.name)[:-5] for entry in files(__name__).iterdir() if entry.name.endswith(".yaml"))


def load(name: str) -> Preset:
    """A preset by its name, or from the path of a YAML file.

    Raises:
        UsageError: There is no such preset.
        DerainError: The file cannot be read or says something a preset cannot.
    """
    if name in names():
        text, where = (files(__name__) / f"{name}.yaml").read_text(encoding="utf-8"), name
    elif os.path.splitext(name)[1] in (".yaml", ".yml"):
        try:
            with open(name, encoding="utf-8") as file:
                text, where = file.read(), name
        except (OSError, UnicodeDecodeError) as error:
            raise DerainError(f"--preset {name}: cannot be read ({getattr(error, 'strerror', error)})") from error
    else:
        raise UsageError(f"--preset {name}: choose one of {', '.join(names())}, or give a .yaml file")
    try:
        return Preset.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise DerainError(f"--preset {where}: is not YAML ({' '.join(str(error).split())})") from error
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise DerainError(f"--preset {where}: {key}: {first['msg']}") from error
