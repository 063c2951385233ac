"""Where a job's time went, in words: a job takes as long as its slowest stage, so that is the one to make quicker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.job import StageTimes


def time_spent(stages: Mapping[str, StageTimes]) -> list[str]:
    """A line a stage, seconds and shares; the stage that worked longest is marked as the one that set the pace."""
    busiest = max(stages, key=lambda name: stages[name].busy, default="")
    lines = []
    for name, times in stages.items():
        whole = max(1e-9, times.busy + times.wait_in + times.wait_out)
        line = (
            f"  {name:<7}{times.busy:8.1f} s busy ({times.busy / whole:4.0%}), {times.wait_in:.1f} s waiting for input, "
            f"{times.wait_out:.1f} s for output"
        )
        lines.append(line + (": sets the pace" if name == busiest else ""))
    return lines
