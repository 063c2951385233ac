"""Weights on disk: our safetensors, which say what network they belong to, and the ESDNet authors' .pth files.

`load` takes either. `save` writes safetensors; their metadata hold `architecture` (a name in the registry), `config`
(JSON of its config) and free text. `import_official` reads the layout of https://github.com/MingTian99/ESDNet, whose
width, block counts and time steps are in its keys; `export_official` gives it back.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor, nn

from esdnet.errors import ModelError
from esdnet.network import ESDNet, EsdnetConfig

PathLike = str | os.PathLike[str]
Shapes = Mapping[str, tuple[int, ...]]

ARCHITECTURES = {
    "ESDNet": ("esdnet.network", "ESDNet", "EsdnetConfig"),
    "StreamNet": ("esdnet.streaming", "StreamNet", "StreamConfig"),
}
"""Networks a file may name: (module, network class, config class); imported when one is met."""

_RESERVED = ("architecture", "config")
_WRAPPERS = ("state_dict", "params_ema", "params", "model")  # keys under which trainers put the weights
_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
_PROFILER_KEYS = ("total_ops", "total_params")  # counters that thop leaves in networks it has measured
_NAMED = 4  # at most so many keys are named in an error
# Far above any network that fits a machine: keeps a damaged or hostile file from asking for one that does not.
_MAX_CHANNELS, _MAX_BLOCKS, _MAX_NUMBER, _MAX_ITEMS = 1024, 64, 1000.0, 8


def load(path: PathLike) -> nn.Module:
    """The network in `path`, our safetensors or an authors' .pth (told apart by content), in eval mode on the CPU.

    Weights come as float32, or as float64 where the file holds that. ModelError where the file is missing, damaged or
    something else.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError as error:
        raise ModelError(f"cannot read weights {path}: {error.strerror}") from error
    if start[8:] == b"{":  # safetensors: eight bytes of length, then JSON
        return _load_safetensors(path)
    if start[:2] == b"PK" or start[:1] == b"\x80":  # torch.save: a zip archive or, long ago, a bare pickle
        return import_official(path)
    raise ModelError(f"{path} holds no weights: neither safetensors nor a PyTorch checkpoint")


def save(network: nn.Module, path: PathLike, metadata: Mapping[str, str] | None = None) -> None:
    """Writes the weights of `network` (one of `ARCHITECTURES`) with free-text `metadata`; replaces `path` at once.

    ModelError for another network, for metadata named `architecture` or `config`, and where it cannot be written.
    """
    path = Path(path)
    architecture = type(network).__name__
    if architecture not in ARCHITECTURES:
        raise ModelError(f"cannot save a {architecture}: weights files know only {', '.join(ARCHITECTURES)}")
    if taken := sorted(set(_RESERVED) & set(metadata or {})):
        raise ModelError(f"metadata may not be named {' or '.join(taken)}: the file itself uses that")
    config: Any = network.config
    header = {**(metadata or {}), "architecture": architecture, "config": json.dumps(dataclasses.asdict(config))}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    # In the same folder, so that the rename is one step and no reader ever sees half a file.
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        # Through bytes, because safetensors' own file is readable by its owner alone.
        with part.open("xb") as file:
            file.write(serialize(tensors, header))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot write weights {path}: {_line(error)}") from error
    finally:
        part.unlink(missing_ok=True)


def read_metadata(path: PathLike) -> dict[str, str]:
    """All metadata of our safetensors, `architecture` and `config` among them, without reading the weights.

    ModelError where the file is missing, damaged or not safetensors.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot read weights {path}: {_line(error)}") from error


def import_official(path: PathLike) -> ESDNet:
    """The network in an authors' .pth, in eval mode on the CPU; float32, or float64 where the file holds that.

    With or without a wrapper (`state_dict`, `params_ema`, `params`, `model`) and a `module.` prefix. The file is read
    with `weights_only`, so it cannot run code. ModelError where it is missing, damaged or not an ESDNet's.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"cannot read weights {path}: {error.strerror or _line(error)}") from error
    except Exception as error:  # an unpickler raises whatever the damage leads it to
        raise ModelError(f"{path} is not a PyTorch checkpoint of plain weights, or is cut short or damaged") from error
    weights = _unwrapped(content, path)
    try:
        config = _config_from_keys({name: tuple(tensor.shape) for name, tensor in weights.items()})
    except ModelError as error:
        raise ModelError(f"{path} is no checkpoint of ESDNet: {error}") from error
    network = _filled(lambda: ESDNet(config), weights, path)
    assert isinstance(network, ESDNet)
    return network


def export_official(network: ESDNet) -> dict[str, Tensor]:
    """The weights in the authors' layout, as copies on the CPU: what `torch.save` is to be given for their code."""
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def _unwrapped(content: object, path: PathLike) -> dict[str, Tensor]:
    """The plain weights in what a checkpoint file held."""
    for _ in range(3):
        if isinstance(content, Mapping):
            inner: list[object] = [content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
            content = inner[0] if inner else content
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"{path} is no checkpoint of ESDNet: it holds no weights by name")
    if {"average", "optimizer", "step"} <= content.keys():
        raise ModelError(f"{path} is for `derain train` to go on from; give the average.safetensors beside it")
    if odd := [name for name, value in content.items() if not isinstance(name, str) or not isinstance(value, Tensor)]:
        raise ModelError(f"{path} is no checkpoint of ESDNet: not a tensor: {_some(odd)}")
    weights: dict[str, Tensor] = dict(content)
    while prefix := next((p for p in _PREFIXES if all(name.startswith(p) for name in weights)), None):
        weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return {name: tensor for name, tensor in weights.items() if name.rpartition(".")[2] not in _PROFILER_KEYS}


def _config_from_keys(shapes: Shapes) -> EsdnetConfig:
    """Width, block counts and time steps. What is absent counts as its smallest, and is then missed by name."""
    embedding = shapes.get("patch_embed.proj.weight")
    if embedding is None or len(embedding) != 4:
        raise ModelError("it has no convolution patch_embed.proj.weight")
    blocks: dict[str, int] = {}
    time_steps = EsdnetConfig.time_steps
    for name, shape in shapes.items():
        if match := re.match(r"((?:en|de)coder_level[123])\.([0-9]{1,4})\.", name):
            blocks[match[1]] = max(blocks.get(match[1], 1), int(match[2]) + 1)
        if name.endswith(".attn.ta.sharedMLP.0.weight") and len(shape) == 5:
            time_steps = shape[1]
    encoder1, encoder2, encoder3 = (blocks.get(f"encoder_level{level}", 1) for level in (1, 2, 3))
    decoder1, decoder2, decoder3 = (blocks.get(f"decoder_level{level}", 1) for level in (1, 2, 3))
    return EsdnetConfig(embedding[0], (encoder1, encoder2, encoder3), decoder3, (decoder2, decoder1), time_steps)


def _load_safetensors(path: PathLike) -> nn.Module:
    metadata = read_metadata(path)
    architecture = metadata.get("architecture")
    if architecture not in ARCHITECTURES:
        what = f"are of {architecture!r}" if architecture else "do not say of which network (no `architecture`)"
        raise ModelError(f"the weights {path} {what}: only {', '.join(ARCHITECTURES)} can be loaded")
    module, network_name, config_name = ARCHITECTURES[architecture]
    rooms = importlib.import_module(module)
    network_class, config_class = getattr(rooms, network_name), getattr(rooms, config_name)
    try:
        config = _config_from_json(config_class, metadata.get("config", ""))
        with torch.device("meta"):
            expected = _shapes(network_class(config).state_dict())
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"the config in {path} makes no {architecture}: {_line(error)}") from error
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            # Shapes first: a config that does not fit its file is found before any memory is asked for.
            _check_fit(expected, {name: tuple(file.get_slice(name).get_shape()) for name in names}, path)
            weights = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot read weights {path}: {_line(error)}") from error
    return _filled(lambda: network_class(config), weights, path)


def _config_from_json(config_class: Callable[..., Any], text: str) -> Any:
    """The config; fields the JSON lacks keep their defaults. ValueError or TypeError where it is wrong."""
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object")
    for name, value in values.items():
        _check_bounds(name, value)
    return config_class(**{name: _tuples(value) for name, value in values.items()})


def _check_bounds(name: str, value: object) -> None:
    """ValueError for a number of a config that no network of ours has, before anything is built from it."""
    if isinstance(value, list):
        if len(value) > _MAX_ITEMS:
            raise ValueError(f"{name} lists {len(value)} numbers, more than {_MAX_ITEMS}")
        for item in value:
            _check_bounds(name, item)
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int):
        most = _MAX_BLOCKS if "blocks" in name else _MAX_CHANNELS
        if not 0 <= value <= most:
            raise ValueError(f"{name} must be whole numbers from 0 to {most}, not {_shortened(value)}")
    elif isinstance(value, float):
        if not -_MAX_NUMBER <= value <= _MAX_NUMBER:  # NaN is refused too: it compares as false
            raise ValueError(f"{name} must be from {-_MAX_NUMBER:g} to {_MAX_NUMBER:g}, not {value}")
    elif not isinstance(value, str):
        raise ValueError(f"{name} is neither a number nor a list of numbers")


def _shortened(value: int) -> str:
    if value.bit_length() > 200:
        return "a number of very many digits"
    text = str(value)
    return text if len(text) <= 20 else f"{text[:12]}…"


def _tuples(value: object) -> object:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _filled(make: Callable[[], nn.Module], weights: Mapping[str, Tensor], path: PathLike) -> nn.Module:
    """A network with those weights, in eval mode."""
    network = make()
    own = network.state_dict()
    _check_fit(_shapes(own), _shapes(weights), path)
    if odd := [name for name, tensor in weights.items() if tensor.is_floating_point() != own[name].is_floating_point()]:
        raise ModelError(f"weights {path}: unexpected number type {weights[odd[0]].dtype} of {_some(odd)}")
    if any(tensor.dtype == torch.float64 for tensor in weights.values()):
        network.double()
    try:
        network.load_state_dict(weights)
        # In NumPy: hundreds of small multi-threaded operations take seconds where other work keeps the cores busy.
        odd = [name for name, tensor in network.state_dict().items() if not np.isfinite(tensor.numpy()).all()]
    except RuntimeError as error:  # sparse, quantized and other tensors that are no plain weights
        raise ModelError(f"weights {path}: {_line(error)}") from error
    if odd:
        raise ModelError(f"weights {path}: not finite (damaged, or training diverged): {_some(odd)}")
    return network.eval()


def _shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _check_fit(expected: Shapes, found: Shapes, path: PathLike) -> None:
    """ModelError that names what is missing, unexpected or of another shape."""
    wrong = [
        f"{name} is {'×'.join(map(str, found[name]))} instead of {'×'.join(map(str, shape))}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    parts = [
        f"{label}: {_some(names)}"
        for label, names in (
            ("missing", [name for name in expected if name not in found]),
            ("unexpected", [name for name in found if name not in expected]),
            ("wrong size", wrong),
        )
        if names
    ]
    if parts:
        raise ModelError(f"weights {path} do not fit the network: {'; '.join(parts)}")


def _some(names: Iterable[object]) -> str:
    listed = [str(name) for name in names]
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more


def _line(error: BaseException) -> str:
    """The first line of an error's text, or what kind it is where it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
