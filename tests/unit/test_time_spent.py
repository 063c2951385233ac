"""What `derain run` says about where its time went."""

from __future__ import annotations

from pipeline.job import StageTimes
from pipeline.time_spent import time_spent


def test_each_stage_has_a_line_and_the_slowest_is_named() -> None:
    lines = time_spent(
        {
            "encode": StageTimes(busy=2.5, wait_in=7.5, wait_out=0.0),  # in the order in which they ended
            "derain": StageTimes(busy=8.0, wait_in=1.5, wait_out=0.5),
            "decode": StageTimes(busy=1.0, wait_in=0.0, wait_out=9.0),
        }
    )
    assert [line.split()[0] for line in lines] == ["decode", "derain", "encode"]
    assert "1.0 s busy ( 10%), 0.0 s waiting for input, 9.0 s for output" in lines[0]
    assert [line.endswith(": sets the pace") for line in lines] == [False, True, False]


def test_a_job_that_did_nothing_has_nothing_to_tell() -> None:
    assert time_spent({}) == []
    assert "(  0%)" in time_spent({"decode": StageTimes(busy=0.0, wait_in=0.0, wait_out=0.0)})[0]
