"""The C library's heap, told to keep what a step will want again.

A step allocates and frees pictures between its layers. glibc gives the top of its heap back to the system when that is
free, so the next step has every page of it made and cleared anew: with `stream` at 640×360, 6,000 page faults and 13 ms
of 52 a step (docs/benchmarks.md). By itself glibc learns better only where a larger block was freed before.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of mallopt(3)."""
KEPT = 256 << 20
"""Bytes that may stay free at the heap's top; a step of `stream` at 640×360 frees 24 MB there."""
MAPPED = 32 << 20
"""Bytes from which a block is mapped by itself and given back when freed; glibc takes no more."""
_LEAN = 1 << 20
"""Both of them while memory is not kept."""


@functools.cache
def keep() -> bool:
    """For the rest of this process; whether its C library could be told (glibc) and nobody else has told it.

    ``MALLOC_TRIM_THRESHOLD_`` and its like in the environment are the user's own choice and stay.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    return _tell(MAPPED, KEPT)


@contextmanager
def lean() -> Iterator[None]:
    """For work that is done once, such as making a graph: what it frees goes back to the system.

    Pictures between layers, freed into a heap full of holes, left 2 GB after the first step of `stream` at 1280×720.
    """
    if not keep():
        yield
        return
    _tell(_LEAN, _LEAN)
    try:
        yield
    finally:
        _tell(MAPPED, KEPT)
        _library().malloc_trim(0)


def _library() -> Any:
    return ctypes.CDLL(None)


def _tell(mapped: int, kept: int) -> bool:
    try:
        mallopt = _library().mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or none to look into
        return False
    told = [mallopt(_M_MMAP_THRESHOLD, mapped), mallopt(_M_TRIM_THRESHOLD, kept)]
    return all(told)
