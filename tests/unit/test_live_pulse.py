"""Whether the front of a live stream says that frames go through it."""

from __future__ import annotations

import os

from pipeline.forked import Child
from pipeline.live.child import LiveChild
from pipeline.live.pulse import Pulse


def stages(heard: float) -> list[LiveChild]:
    made = [LiveChild(name) for name in ("decode", "derain", "encode")]
    for child in made:
        child.process, child.heard, child.worked = Child(os.getpid()), heard, True
    return made


def test_a_stage_that_says_nothing_for_the_stall_timeout_is_told() -> None:
    """The state was `running` until the front killed it, after ten seconds."""
    pulse, all_stages = Pulse(3.0), stages(100.0)
    assert pulse.trouble(all_stages, 50, 103.4) is None
    all_stages[2].heard = 103.3
    assert pulse.trouble(all_stages[2:], 50, 103.6) is None
    assert pulse.trouble(all_stages, 50, 103.6) == "the decode stage stands still"


def test_reports_that_are_late_on_a_busy_core_are_no_loss() -> None:
    """With a stall timeout shorter than a few reports take."""
    assert Pulse(0.1).trouble(stages(100.0), 50, 101.4) is None


def test_what_begins_or_is_done_is_not_missed() -> None:
    """A network that is being loaded says nothing for as long as that takes."""
    pulse, all_stages = Pulse(1.0), stages(100.0)
    all_stages[0].done, all_stages[1].worked, all_stages[2].heard = True, False, 120.0
    assert pulse.trouble(all_stages, 50, 120.0) is None


def test_a_stage_that_was_replaced_is_missed_until_a_frame_goes_through_its_successor() -> None:
    """Once the new process was there the state was `running`, though it had yet to find its source."""
    pulse, all_stages = Pulse(1.0), stages(100.0)
    process, all_stages[1].process = all_stages[1].process, None
    pulse.replaced(50)
    assert pulse.trouble(all_stages, 50, 100.1) == ""
    all_stages[1].process = process
    assert pulse.trouble(all_stages, 50, 100.2) == ""
    assert pulse.trouble(all_stages, 51, 100.3) is None
