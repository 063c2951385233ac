"""`derain run --dry-run` tells what would be done, and what would fail, without doing it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.dry_run import dry_run
from pipeline.errors import DerainError, UsageError
from pipeline.job import Job
from pipeline.restore_options import RestoreOptions
from pipeline.sinks.options import EncodeOptions
from tests.clips import make_clip


def job_of(tmp_path: Path, tiny: Path, destination: str = "out.mkv", codec: str = "libx264", **restore: object) -> Job:
    source = tmp_path / "in.mp4"
    if not source.exists():
        make_clip(source, rotation=90, sample_aspect_ratio=Fraction(4, 3))
    return Job(
        source=str(source),
        destination=str(tmp_path / destination),
        model=str(tiny),
        runtime="eager",
        threads=1,
        encode=EncodeOptions(codec=codec, pixel_format="yuv444p"),
        restore=RestoreOptions(**restore),  # type: ignore[arg-type]
    )


def test_what_is_removed_and_the_layer_are_told(tmp_path: Path, tiny: Path) -> None:
    """Strength, region and the layer were not mentioned, so one could not see whether they had been understood."""
    mask, layer = tmp_path / "mask.png", tmp_path / "rain.mkv"
    cv2.imwrite(str(mask), np.zeros((64, 48), np.uint8))
    told = dry_run(job_of(tmp_path, tiny, strength=0.5, region=str(mask), save_rain=str(layer)))
    lines = dict(told.lines())
    assert lines["removed"] == f"50% of the rain layer, where {mask} is white"
    assert lines["rain layer"] == f"{layer}: matroska, libx264 yuv420p"  # in a format of its own
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "mask.png"]
    assert "removed" not in dict(dry_run(job_of(tmp_path, tiny)).lines())


@pytest.mark.parametrize(
    ("restore", "kind", "says"),
    [
        ({"save_rain": "rain.xyz"}, UsageError, "cannot tell a video container"),
        ({"save_rain": "rain.webm"}, UsageError, "rain.webm"),
        ({"save_rain": "rain.png"}, UsageError, "is one picture, the source has 10 frames"),
        ({"region": "mask.png"}, DerainError, "make it as large as the video, 48x64"),
    ],
)
def test_what_would_fail_is_told_beforehand(
    tmp_path: Path, tiny: Path, restore: dict[str, str], kind: type[Exception], says: str
) -> None:
    """A dry run was content with a layer that no run could write, and with a mask of the wrong size."""
    cv2.imwrite(str(tmp_path / "mask.png"), np.zeros((48, 64), np.uint8))  # not as it is seen
    given = {name: str(tmp_path / value) for name, value in restore.items()}
    with pytest.raises(kind, match=says):
        dry_run(job_of(tmp_path, tiny, **given))


def test_one_picture_for_a_video(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(UsageError, match="name a folder"):
        dry_run(job_of(tmp_path, tiny, "out.png"))


def test_a_shape_and_a_rotation_that_are_lost_are_told(tmp_path: Path, tiny: Path) -> None:
    """Only the run itself said so, when it was done."""
    told = dry_run(job_of(tmp_path, tiny, "out.avi", "ffv1"))
    assert [note for note in told.notes if "rotation of 90" in note]
    assert [note for note in told.notes if "pixels are 4:3" in note and note.endswith("use .mkv")]
    assert not dry_run(job_of(tmp_path, tiny, "out.mp4")).notes
