"""A job's stages as threads: whatever happens to one of them, the job ends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

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
