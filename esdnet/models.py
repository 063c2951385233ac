"""The named models: where their weights are, and their cards.

A card is Markdown with a YAML head beside the weights (`esdnet/weights/NAME.md`): what the model is for, what data
under which licences it has seen, how it was trained, its figures.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from esdnet.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

_NAMES = ("stream", "stream-nano", "esdnet")
_FOLDER = Path(str(files("esdnet") / "weights"))


def names() -> tuple[str, ...]:
    """The models this version knows by name, the default first."""
    return _NAMES


def weights(name: str) -> Path | None:
    """The shipped weights of a named model, None where none are shipped. ModelError for an unknown name."""
    _known(name)
    path = _FOLDER / f"{name}.safetensors"
    return path if path.exists() else None


def card(name: str) -> dict[str, Any]:
    """The head of a model's card with `name`, `shipped` and `text` (the Markdown). ModelError for an unknown name."""
    _known(name)
    _, head, text = (_FOLDER / f"{name}.md").read_text(encoding="utf-8").split("---\n", 2)
    return {"name": name, "shipped": weights(name) is not None, **yaml.safe_load(head), "text": text.strip()}


def load(model: str | Path) -> nn.Module:
    """The network of a shipped name, our safetensors or a `.pth` in the authors' layout, in evaluation mode.

    ModelError where it is none of these, cannot be read, or ships no weights.
    """
    from esdnet import checkpoint

    name = str(model)
    if name in _NAMES:
        path = weights(name)
        if path is None:
            raise ModelError(
                f"model {name!r} ships no weights in this version; give the path of a checkpoint instead "
                "(the authors' .pth or our .safetensors)"
            )
        return checkpoint.load(path).eval()
    path = Path(name).expanduser()
    if path.is_file() or path.suffix in (".safetensors", ".pth", ".pt"):
        return checkpoint.load(path).float().eval()
    if path.is_dir():
        inside = next(iter(sorted(path.glob("*.safetensors"))), None)
        raise ModelError(f"{name} is a folder; " + (f"give {inside}" if inside else "it holds no .safetensors"))
    raise ModelError(f"unknown model {name!r}: not one of {', '.join(_NAMES)}, nor the path of a .safetensors or .pth")


def _known(name: str) -> None:
    if name not in _NAMES:
        raise ModelError(f"unknown model {name!r}; this version has: {', '.join(_NAMES)}")
