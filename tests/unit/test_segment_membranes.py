"""Membranes of a run that was cut off: bit for bit those of a run that never stopped."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
import pytest

from pipeline.decode import opened
from pipeline.in_threads import in_threads
from pipeline.job import Job
from pipeline.join import join
from pipeline.manifest import manifest
from pipeline.offline import run_job
from pipeline.plan import plan
from pipeline.segments import WorkFolder
from tests.clips import B_FRAMES, make_clip
from tests.segmented import CutOff, carry_out, job_for, pictures


def network_job(tmp_path: Path, tiny: Path, name: str) -> Job:
    source = tmp_path / "in.mp4"
    if not source.exists():
        make_clip(source, frames=40, options=B_FRAMES | {"g": "12"})
    job = job_for(source, tmp_path / name)
    return msgspec.structs.replace(job, model=str(tiny), runtime="eager", threads=1)


def cut_off(job: Job, frames: int) -> None:
    with pytest.raises(CutOff):
        carry_out(job, frames)


def test_membranes_go_on_bit_for_bit(tmp_path: Path, tiny: Path) -> None:
    whole, bits = network_job(tmp_path, tiny, "whole.mkv"), network_job(tmp_path, tiny, "bits.mkv")
    run_job(whole, run=in_threads)
    cut_off(bits, 15)
    cut_off(bits, 4 + 17)  # of warm-up, and more than a segment
    result = run_job(bits, run=in_threads)
    assert result.resumed == 20
    assert result.frames_in == result.frames_out == 40
    assert pictures(Path(bits.destination)) == pictures(Path(whole.destination))


@pytest.mark.parametrize("lost", ["the last", "all"])
def test_lost_membranes(tmp_path: Path, tiny: Path, lost: str) -> None:
    """As after a power loss. An earlier segment is gone on from bit for bit; where none can be, it is warmed up."""
    whole, bits = network_job(tmp_path, tiny, "whole.mkv"), network_job(tmp_path, tiny, "bits.mkv")
    run_job(whole, run=in_threads)
    cut_off(bits, 35)
    membranes = sorted(Path(WorkFolder(bits.destination).path).glob("*.membranes"))
    assert [path.name for path in membranes] == ["000001.membranes", "000002.membranes", "000003.membranes"]
    for path in membranes if lost == "all" else membranes[2:]:
        path.write_bytes(path.read_bytes()[:-7])
    assert run_job(bits, run=in_threads).resumed == (30 if lost == "all" else 20)
    one, two = pictures(Path(bits.destination)), pictures(Path(whole.destination))
    assert [pts for pts, _ in one] == [pts for pts, _ in two]
    assert one[:30] == two[:30]
    if lost == "the last":
        assert one == two


def test_parts_that_begin_at_a_cut_are_those_of_an_unbroken_run(tmp_path: Path, tiny: Path) -> None:
    """On several machines too: the warm-up shows the cut, and there the network starts anew anyhow."""
    rng = np.random.default_rng(0)
    scene = cv2.resize(rng.integers(0, 256, (6, 8), dtype=np.uint8), (96, 64), interpolation=cv2.INTER_CUBIC)
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as out:
        video = out.add_stream("libx264", rate=25, options={"g": "20", "sc_threshold": "0", "bf": "0", "crf": "10"})
        video.width, video.height, video.pix_fmt = 96, 64, "gray"
        for number in range(40):
            luma = np.roll(scene if number < 20 else 255 - scene, number, axis=1)
            out.mux(video.encode(av.VideoFrame.from_ndarray(luma, "gray")))
        out.mux(video.encode(None))
    whole = msgspec.structs.replace(
        job_for(source, tmp_path / "whole.mkv"), model=str(tiny), runtime="eager", threads=1, segment=0.0, warmup=8
    )
    assert run_job(whole, run=in_threads).resets == {"start": 1, "scene_cut": 1}
    job = msgspec.structs.replace(whole, destination=str(tmp_path / "parts.mkv"), segment=0.8)
    work = WorkFolder(job.destination)
    with opened(job) as frames:
        work.lock()
        work.write(manifest(job, frames.info))
    pieces = plan(job.source, 0.8, job.warmup)
    assert [piece.frame for piece in pieces] == [0, 20]
    for piece in reversed(pieces):
        run_job(msgspec.structs.replace(job, piece=piece, single=True), run=in_threads)
    join(work, job, "")
    assert pictures(tmp_path / "parts.mkv") == pictures(tmp_path / "whole.mkv")
