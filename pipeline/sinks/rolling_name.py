"""Names of rolling segments: templates with fields of strftime, the name for now, and which names are of a template."""

from __future__ import annotations

import os
import re
import time

_TOKEN = re.compile(r"%(-?)([A-Za-z%])")
_WHOLE = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M", "X": "%H:%M:%S", "r": "%I:%M:%S %p", "c": "%a %b %e %T %Y"}
"""Fields that stand for several; `%D` and `%x` are not among them, as they hold a slash."""
_HOUR, _HALF_DAY, _SIXTY = "[01][0-9]|2[0-3]", "0[1-9]|1[0-2]", "[0-5][0-9]"
_FIELDS = {
    **dict.fromkeys("YG", "[0-9]{4}"),
    **dict.fromkeys("Cyg", "[0-9]{2}"),
    **dict.fromkeys("UWV", "[0-4][0-9]|5[0-3]"),
    "m": _HALF_DAY,
    "d": "0[1-9]|[12][0-9]|3[01]",
    "H": _HOUR,
    "I": _HALF_DAY,
    "M": _SIXTY,
    "S": f"{_SIXTY}|60",
    "e": " [1-9]|[12][0-9]|3[01]",
    "k": " [0-9]|1[0-9]|2[0-3]",
    "l": " [1-9]|1[0-2]",
    "j": "[0-2][0-9]{2}|3[0-5][0-9]|36[0-6]",
    "u": "[1-7]",
    "w": "[0-6]",
    "s": "[0-9]{9,11}",
    "p": "AM|PM",
    "P": "am|pm",
    "z": "[+-][0-9]{4}",
    "Z": "[A-Za-z]{2,5}|[+-][0-9]{2,4}",
}
"""What each field can come to. A field that took anything would take the rest of another camera's name for its own."""
_UNPADDED = {"m": 2, "d": 2, "e": 2, "H": 2, "k": 2, "I": 2, "l": 2, "M": 2, "S": 2, "j": 3, "U": 2, "W": 2, "V": 2}
"""Digits at most of those that may be written with a minus (`%-d`)."""
_NAMES = {"a": 7, "A": 7, "b": 12, "B": 12, "h": 12}
"""Fields that are words, and how many days or months have one."""


def is_template(address: str) -> bool:
    """Whether a file's name has fields of strftime, like cam-%Y%m%d-%H%M%S.mkv; its folder is taken as it stands."""
    return any(letter != "%" for _, letter in _TOKEN.findall(os.path.basename(address)))


def unknown_field(address: str) -> str:
    """The first field that no name can be made of; empty where all are known."""
    found = _TOKEN.finditer(os.path.basename(address))
    return next((field[0] for field in found if not _pattern_of(field[1], field[2])), "")


def name_now(address: str) -> str:
    """The address with its fields filled in."""
    folder, name = os.path.split(address)
    return os.path.join(folder, _TOKEN.sub(lambda field: time.strftime(field[0]), name))


def names_of(address: str) -> re.Pattern[str]:
    """What the template's names look like, without their folder. Group `number` has the digits of NAME-2, which is how
    a name goes on that was there already."""
    stem, ending = os.path.splitext(os.path.basename(address))
    return re.compile(f"{_pattern(stem)}(?:-(?P<number>[2-9]|[1-9][0-9]+))?{_pattern(ending)}")


def _pattern(text: str) -> str:
    made, end = "", 0
    for field in _TOKEN.finditer(text):
        made += re.escape(text[end : field.start()]) + _pattern_of(field[1], field[2])
        end = field.end()
    return made + re.escape(text[end:])


def _pattern_of(minus: str, letter: str) -> str:
    """Empty where there is no such field."""
    if letter == "%":
        return "%"
    if minus:
        return f"(?:0|[1-9][0-9]{{0,{_UNPADDED[letter] - 1}}})" if letter in _UNPADDED else ""
    if letter in _WHOLE:
        return _pattern(_WHOLE[letter])
    if letter in _NAMES:
        words = {time.strftime(f"%{letter}", (2024, n, n, 0, 0, 0, n % 7, 1, 0)) for n in range(1, _NAMES[letter] + 1)}
        return f"(?:{'|'.join(re.escape(word) for word in sorted(words))})"
    return f"(?:{_FIELDS[letter]})" if letter in _FIELDS else ""
