"""What a network takes is reckoned from its weights, which are read once."""

from __future__ import annotations

from pathlib import Path

import pytest

from esdnet import memory
from esdnet.models import load


def test_the_weights_are_read_once(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file of a batch read them anew to know its memory: 40 ms of the processor, as much as its frames took."""
    read = []
    monkeypatch.setattr(memory, "load", lambda model: (read.append(model), load(model))[1])
    memory.memory_of.cache_clear()
    first = memory.memory_of(str(tiny), "eager")
    assert memory.memory_of(str(tiny), "eager") == first
    assert read == [str(tiny)]
