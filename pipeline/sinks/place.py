"""Where a destination is, however it is spelt: two writers in one place would lose each other's work."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pipeline.errors import UsageError
from pipeline.redact import redact


def place(address: str) -> str:
    """The same for all spellings of one file, links included; of a URL and of `-` what they are.

    `env:NAME` is where the variable says. Names need not exist yet.
    """
    if address.startswith("env:"):
        address = os.environ.get(address.removeprefix("env:"), address)
    return address if "://" in address or address == "-" else os.path.realpath(address)


def check_places(destinations: Iterable[str]) -> None:
    """UsageError where two destinations of one stream are the same."""
    seen: dict[str, str] = {}
    for one in destinations:
        there = place(one)
        if there in seen:
            same = "is named twice" if seen[there] == one else f"is the same as {redact(seen[there])}"
            raise UsageError(f"{redact(one)}: {same}; a stream is written once to each place")
        seen[there] = one
