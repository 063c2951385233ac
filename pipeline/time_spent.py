"""Where a job's time went, in words: a job takes as long as its slowest stage, so that is the one to make quicker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.job import StageTimes

_ORDER = ("decode", "derain", "encode")


def time_spent(stages: Mapping[str, StageTimes]) -> list[str]:
    """A line a stage, seconds and shares; the stage that worked longest is marked as the one that set the pace."""
    busiest = max(stages, key=lambda name: stages[name].busy, default="")
    lines = []
    for name in sorted(stages, key=_ORDER.index):
        busy, wait_in, wait_out = stages[name].busy, stages[name].wait_in, stages[name].wait_out
        share = busy / max(1e-9, busy + wait_in + wait_out)
        waiting = f"{wait_in:.1f} s waiting for input, {wait_out:.1f} s for output"
        pace = ": sets the pace" if name == busiest else ""
        lines.append(f"  {name:<7}{busy:8.1f} s busy ({share:4.0%}), {waiting}{pace}")
    return lines
