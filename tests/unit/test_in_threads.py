"""A job's stages as threads: whatever happens to one of them, the job ends."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from pipeline import in_threads as threads
from pipeline.errors import DerainError
from pipeline.in_threads import in_threads
from tests.clips import make_clip
from tests.segmented import job_for


@pytest.mark.parametrize("stage", ["decode", "derain", "encode"])
def test_a_stage_that_cannot_be_imported_ends_the_job(
    tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread ended without a word and the other two waited for it for ever: a batch that was started while its
    code was being changed stood still at its first file."""
    monkeypatch.setitem(sys.modules, f"pipeline.{stage}", None)
    with pytest.raises(DerainError, match=f"pipeline.{stage}"):
        in_threads(job_for(make_clip(tmp_path / "in.mp4"), tmp_path / "out.mkv"))
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_nobody_waits_once_the_last_stage_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last thread was still closing its socket when its report had been read, so the job waited another 50 ms for
    a message that never came: half the time of a short file in a batch."""
    monkeypatch.setattr(threads, "_POLL", 60.0)
    began = time.monotonic()
    in_threads(job_for(make_clip(tmp_path / "in.mp4"), tmp_path / "out.mkv"))
    assert time.monotonic() - began < 30
