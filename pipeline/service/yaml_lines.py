"""Reads YAML and remembers on which line each key stands, so that an error in a file names the place.

A key given twice is refused (plain YAML lets the last one win), and `${NAME}` in a text is replaced by the environment
variable of that name: passwords of cameras need not stand in the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import DerainError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MAX_DEPTH = 20

Place = tuple[str | int, ...]
"""Where a value stands: keys of mappings and indices of lists, from the top."""


@dataclass
class YamlFile:
    """The content of a file and the line (from 1) of every key and list item in it."""

    path: str
    content: Any
    lines: dict[Place, int] = field(default_factory=dict)

    def line(self, place: Sequence[str | int]) -> int:
        """Line of the value at `place`, or of the nearest thing around it that stands in the file."""
        for length in range(len(place), -1, -1):
            if (line := self.lines.get(tuple(place[:length]))) is not None:
                return line
        return 1


def read_yaml(path: str | Path) -> YamlFile:
    """Read a file of YAML.

    Raises:
        DerainError: It can't be read, is not YAML, has a key twice, or names an environment variable that is not set.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DerainError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DerainError(f"{path}: can't be read ({getattr(error, 'strerror', None) or error})") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise DerainError(f"{where}: not YAML ({error.problem or error.context})") from error
    except yaml.YAMLError as error:
        raise DerainError(f"{path}: not YAML ({error})") from error
    except RecursionError as error:
        raise DerainError(f"{path}: nested deeper than {_MAX_DEPTH} levels") from error
    result = YamlFile(str(path), {})
    if node is not None:
        result.content = _build(node, (), result)
    return result


def _build(node: yaml.Node, place: Place, file: YamlFile) -> Any:
    """The value of a node; notes the lines of what is in it."""
    line = node.start_mark.line + 1
    if len(place) > _MAX_DEPTH:
        raise DerainError(f"{file.path}:{line}: nested deeper than {_MAX_DEPTH} levels")
    file.lines.setdefault(place, line)
    if isinstance(node, yaml.MappingNode):
        built: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key, at = _scalar(key_node, file), key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise DerainError(f"{file.path}:{at}: {key_node.value!r} is no name for a key; put it in quotes")
            if key in built:
                first = file.lines[(*place, key)]
                raise DerainError(f"{file.path}:{at}: {_dotted((*place, key))} is given twice (first on line {first})")
            file.lines[(*place, key)] = at
            built[key] = _build(value_node, (*place, key), file)
        return built
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*place, index), file) for index, item in enumerate(node.value)]
    value = _scalar(node, file)
    return _filled(value, place, line, file) if isinstance(value, str) else value


def _scalar(node: yaml.Node, file: YamlFile) -> Any:
    """A plain value, typed as YAML's safe schema does."""
    if not isinstance(node, yaml.ScalarNode):
        raise DerainError(f"{file.path}:{node.start_mark.line + 1}: a key must be a plain word")
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        raise DerainError(f"{file.path}:{node.start_mark.line + 1}: {node.value!r} can't be read ({error})") from error


def _filled(text: str, place: Place, line: int, file: YamlFile) -> str:
    """`text` with its variables replaced; their values are never part of an error."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise DerainError(
                f"{file.path}:{line}: {_dotted(place)} names the environment variable {name}, which is not set"
            )
        return os.environ[name]

    return _VARIABLE.sub(value, text)


def _dotted(place: Sequence[str | int]) -> str:
    """`streams[0].source`, as people write it."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text or "the file"


dotted = _dotted
