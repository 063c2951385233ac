"""Segments: cut off anywhere and gone on with, the result is that of a run that never stopped."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
import pytest

from pipeline.decode import opened
from pipeline.errors import DerainError
from pipeline.in_threads import in_threads
from pipeline.job import Job
from pipeline.offline import run_job
from pipeline.plan import plan
from pipeline.restore_options import RestoreOptions
from pipeline.segment_sink import open_segments
from pipeline.segment_source import part_of
from pipeline.segmenting import Segmenting
from pipeline.segments import WorkFolder
from pipeline.sinks.options import EncodeOptions
from tests.clips import B_FRAMES, Sound, make_clip
from tests.segmented import LOSSLESS, REORDERED, CutOff, carry_out, carry_out_in_bits, job_for, packets, pictures

VARIABLE = [0, 40, 41, 90, 300, 333, 420, 460, 500, 777, *range(800, 1600, 33), 2500, 2540, 2580]
SOURCES = {
    "mp4, reordered": ("in.mp4", {"frames": 60, "options": B_FRAMES | {"g": "12"}}),
    "open GOP": ("in.mp4", {"frames": 60, "options": B_FRAMES | {"x264-params": "open-gop=1:keyint=10"}}),
    "variable rate": ("in.mkv", {"pts": VARIABLE, "time_base": Fraction(1, 1000), "options": {"g": "7"}}),
    "mpegts": ("in.ts", {"frames": 60, "options": B_FRAMES | {"g": "12"}}),
    "one keyframe": ("in.mp4", {"frames": 50, "options": {"g": "999"}}),
    "without timestamps": ("in.avi", {"frames": 50, "codec": "mpeg4", "options": {"g": "12"}}),
    "starts late": ("in.mp4", {"pts": range(900, 950), "options": B_FRAMES | {"g": "12"}}),
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("encode", [LOSSLESS, REORDERED], ids=["ffv1", "x264"])
def test_cut_off_and_gone_on_with_is_the_same(tmp_path: Path, kind: str, encode: EncodeOptions) -> None:
    name, settings = SOURCES[kind]
    source = make_clip(tmp_path / name, **settings)  # type: ignore[arg-type]
    whole, bits = tmp_path / "whole.mkv", tmp_path / "bits.mkv"
    carry_out(job_for(source, whole, encode))
    carry_out_in_bits(job_for(source, bits, encode), 13)
    assert packets(bits) == packets(whole)
    assert len(pictures(whole)) == len(pictures(source))
    if encode is LOSSLESS and name != "in.ts":
        assert [pts for pts, _ in pictures(whole)] == [pts for pts, _ in pictures(source)]
    assert sorted(os.listdir(tmp_path)) == sorted([name, "bits.mkv", "whole.mkv"])


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts", "mov"])
def test_joined_timestamps_are_those_of_one_encoder(tmp_path: Path, ending: str) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=40, sound=[Sound(seconds=1.6)], metadata={"title": "Rain"})
    joined, single = tmp_path / f"joined.{ending}", tmp_path / f"single.{ending}"
    carry_out(job_for(source, joined, REORDERED))
    run_job(msgspec.structs.replace(job_for(source, single, REORDERED), segment=0.0), run=in_threads)
    a, b = packets(joined), packets(single)
    assert sorted(pts for pts, _, _ in a) == sorted(pts for pts, _, _ in b)
    assert [dts for _, dts, _ in a] == [dts for _, dts, _ in b]  # in which order pts come depends on the keyframes
    with av.open(str(joined)) as one, av.open(str(single)) as two:
        assert [s.type for s in one.streams] == [s.type for s in two.streams]
        assert one.metadata.get("title") == two.metadata.get("title")
        sound = [[bytes(p) for p in held.demux(audio=0) if p.size] for held in (one, two)]
    assert sound[0] == sound[1]


def test_every_segment_begins_with_a_keyframe_and_a_cut_begins_one(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=40)
    result = tmp_path / "out.mkv"
    carry_out(job_for(source, result, REORDERED), resets=(3, 17))
    with av.open(str(result)) as held:
        keys = [round(p.pts * p.time_base * 25) for p in held.demux(video=0) if p.size and p.is_keyframe]
    assert keys == [0, 10, 17, 27, 37]  # 0.4 s are ten frames; the cut at 3 is too early, that at 17 is not


def test_only_the_missing_part_is_written_again(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=40)
    job = job_for(source, tmp_path / "out.mkv")
    with pytest.raises(CutOff):
        carry_out(job, 25)
    work = WorkFolder(job.destination)
    assert work.numbers() == [0, 1]
    before = [os.stat(work.segment(n)).st_mtime_ns for n in (0, 1)]
    with pytest.raises(CutOff):
        carry_out(job, 4 + 11)  # of warm-up, and a segment
    assert work.numbers() == [0, 1, 2]
    assert [os.stat(work.segment(n)).st_mtime_ns for n in (0, 1)] == before


def test_pts_that_fall_back_stay_where_one_run_puts_them(tmp_path: Path) -> None:
    """Two recordings joined: the second's clock begins anew in the middle of a segment."""
    pts = [*range(25), *range(3, 28)]
    source = tmp_path / "in.ts"
    parts = [make_clip(tmp_path / f"{n}.ts", pts=p) for n, p in enumerate((pts[:25], pts[25:]))]
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    whole, bits = job_for(source, tmp_path / "whole.mkv"), job_for(source, tmp_path / "bits.mkv")
    warned = carry_out(whole)
    carry_out_in_bits(bits, 13)
    assert packets(Path(bits.destination)) == packets(Path(whole.destination))
    assert any("moved" in text for text in warned)


def interrupted(tmp_path: Path) -> Job:
    job = job_for(make_clip(tmp_path / "in.mp4", frames=40), tmp_path / "out.mkv")
    with pytest.raises(CutOff):
        carry_out(job, 25)
    return job


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda job: os.utime(job.source, (1, 1)), "the source|source, or it has changed"),
        (
            lambda job: msgspec.structs.replace(job, encode=EncodeOptions(codec="ffv1", pixel_format="gray")),
            "pixel_format",
        ),
        (lambda job: msgspec.structs.replace(job, model="stream"), "another model"),
        (lambda job: msgspec.structs.replace(job, warmup=5), "warmup"),
    ],
    ids=["source", "encoder", "model", "warm-up"],
)
def test_what_has_changed_is_never_mixed(tmp_path: Path, change: object, says: str) -> None:
    job = interrupted(tmp_path)
    changed = change(job) or job  # type: ignore[operator]
    with pytest.raises(DerainError, match=says) as told:
        run_job(changed, run=in_threads)
    assert "--restart" in str(told.value)
    assert WorkFolder(job.destination).numbers() == [0, 1]
    assert not os.path.exists(job.destination)


def test_a_changed_mask_is_never_mixed(tmp_path: Path) -> None:
    mask = tmp_path / "mask.png"
    cv2.imwrite(str(mask), np.zeros((48, 64), np.uint8))
    job = job_for(make_clip(tmp_path / "in.mp4", frames=40), tmp_path / "out.mkv")
    job = msgspec.structs.replace(job, restore=RestoreOptions(region=str(mask)))
    with pytest.raises(CutOff):
        carry_out(job, 25)
    cv2.imwrite(str(mask), np.full((48, 64), 255, np.uint8))
    with pytest.raises(DerainError, match="region"):
        run_job(job, run=in_threads)


def test_a_lost_first_segment_is_a_new_beginning(tmp_path: Path) -> None:
    job = interrupted(tmp_path)
    os.unlink(WorkFolder(job.destination).segment(0))
    result = run_job(job, run=in_threads)
    assert (result.resumed, result.frames_out) == (0, 40)


def test_restart_begins_anew(tmp_path: Path) -> None:
    job = interrupted(tmp_path)
    make_clip(Path(job.source), frames=22)
    result = run_job(job, restart=True, run=in_threads)
    assert (result.resumed, result.frames_out) == (0, 22)
    assert sorted(os.listdir(tmp_path)) == ["in.mp4", "out.mkv"]


def test_two_runs_of_one_destination_do_not_collide(tmp_path: Path) -> None:
    job = interrupted(tmp_path)
    with opened(job) as source:
        piece = WorkFolder(job.destination).feet()[-1].next
        sink = open_segments(msgspec.structs.replace(job, piece=piece), source.info, job.source)
        assert sink is not None
        with pytest.raises(DerainError, match="another run"):
            run_job(job, run=in_threads)
        sink.abort()
    assert run_job(job, run=in_threads).resumed == 20


def test_a_damaged_segment_is_not_joined(tmp_path: Path) -> None:
    job = interrupted(tmp_path)
    path = WorkFolder(job.destination).segment(1)
    data = bytearray(Path(path).read_bytes())
    data[len(data) // 2] ^= 255
    Path(path).write_bytes(data)
    with pytest.raises(DerainError, match=r"000001\.segment: .*--restart"):
        run_job(job, run=in_threads)
    assert not os.path.exists(job.destination)


def test_only_joining_was_left(tmp_path: Path) -> None:
    """Killed between the last segment and the rename."""
    source = make_clip(tmp_path / "in.mp4", frames=40)
    job = job_for(source, tmp_path / "out.mkv")
    blocked = msgspec.structs.replace(job, destination=str(tmp_path / "out.mkv"))
    with opened(blocked) as frames:
        sink = open_segments(blocked, frames.info, blocked.source, stop=lambda: (_ for _ in ()).throw(CutOff))
        assert sink is not None
        segments = Segmenting(blocked, frames.info)
        for frame in frames:
            sink.write(segments(frame))
        with pytest.raises(CutOff):
            sink.close()
    assert len(WorkFolder(job.destination).numbers()) == 4
    result = run_job(job, run=in_threads)
    assert (result.frames_out, result.resumed) == (40, 40)
    assert pictures(tmp_path / "out.mkv") == pictures(source)
    assert sorted(os.listdir(tmp_path)) == ["in.mp4", "out.mkv"]


def test_short_files_have_no_segments(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=19)
    job = job_for(source, tmp_path / "out.mkv")
    with opened(job) as frames:
        assert open_segments(job, frames.info, job.source) is None
        assert open_segments(msgspec.structs.replace(job, segment=0.38), frames.info, job.source) is not None


def test_a_plan_has_every_frame_once_and_begins_parts_at_keyframes(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", frames=50, options=B_FRAMES | {"g": "10", "sc_threshold": "0"})
    pieces = plan(str(source), 0.7, warmup=6)
    assert [(p.number, p.frame) for p in pieces] == [(0, 0), (1, 20), (2, 40)]
    assert [len(p.tail) for p in pieces] == [0, 6, 6]
    found = []
    for piece in pieces:
        with opened(Job(source=str(source), destination="", model="identity")) as frames:
            job = Job(source=str(source), destination="", piece=piece)
            mine = list(part_of(frames, job))
        assert [f.header.warmup for f in mine[: len(piece.tail)]] == [True] * len(piece.tail)
        found += [(f.header.pts, f.pixels.tobytes()) for f in mine if not f.header.warmup]
    with opened(Job(source=str(source), destination="", model="identity")) as frames:
        assert found == [(f.header.pts, f.pixels.tobytes()) for f in frames]
    assert np.all(np.diff([pts for pts, _ in found]) > 0)
