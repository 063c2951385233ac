"""From source to sink with nothing in between, and what has to be the same afterwards.

What is compared is read back by PyAV alone (`tests.clips.facts`), never by our own sources.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.sinks import EncodeOptions, Sink, open_sink
from pipeline.sources import open_source
from tests.facts import Facts, facts


def through(source_path: Path, destination: Path, **options: object) -> Sink:
    """Decode and encode again, nothing in between."""
    wanted = EncodeOptions(**{"preset": "veryfast"} | options)  # type: ignore[arg-type]
    with open_source(str(source_path)) as source:
        with open_sink(str(destination), source.info, wanted, str(source_path)) as sink:
            for frame in source:
                sink.write(frame)
        assert source.damaged == 0
    return sink


def both(tmp_path: Path, source: Path, ending: str = "", **options: object) -> tuple[Facts, Facts, list[str]]:
    destination = tmp_path / f"out{ending or source.suffix}"
    sink = through(source, destination, **options)
    return facts(source), facts(destination), sink.warnings


def assert_video_kept(before: Facts, after: Facts) -> None:
    assert after.pts == before.pts
    assert after.size == before.size
    assert after.sample_aspect_ratio == before.sample_aspect_ratio
    assert after.colours[1:] == before.colours[1:]
    assert (after.colours[0] == 2) == (before.colours[0] == 2)  # not said means limited, and some encoders say so
    assert after.display_matrix == before.display_matrix
    assert after.chapters == before.chapters
    assert after.metadata == before.metadata
    assert after.streams[after.video].metadata == before.streams[before.video].metadata
    assert after.streams[after.video].disposition == before.streams[before.video].disposition


def assert_others_kept(before: Facts, after: Facts) -> None:
    assert after.video == before.video
    assert [(s.kind, s.codec) for s in after.others()] == [(s.kind, s.codec) for s in before.others()]
    for old, new in zip(before.others(), after.others(), strict=True):
        assert new == old
