"""How `derain batch` shares a machine out among files, and what becomes of one for which memory is too short."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from esdnet import allowance
from pipeline import batch_worker, files_at_once
from pipeline.batch import Batch, Watcher
from pipeline.errors import DerainError, NoMemory
from pipeline.frame import StreamInfo
from pipeline.job import Job
from pipeline.memory import plan_memory
from pipeline.supervisor import error_of
from pipeline.wire import Failure


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Eight cores, 100 GB, no GPU."""
    monkeypatch.setattr(allowance, "cores", lambda: 8)
    monkeypatch.setattr(files_at_once, "free_megabytes", lambda: 100_000)
    monkeypatch.setattr(files_at_once, "glob", lambda _: [])
    return monkeypatch


def test_a_core_each_and_no_more_than_there_are_files(machine: pytest.MonkeyPatch) -> None:
    assert [files_at_once.files_at_once(files, "auto") for files in (0, 1, 3, 8, 1000)] == [1, 1, 3, 8, 8]
    assert files_at_once.files_at_once(1000, "auto", threads=4) == 2
    assert files_at_once.files_at_once(1000, "auto", threads=16) == 1


def test_memory_bounds_them(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(files_at_once, "free_megabytes", lambda: 9_000)
    assert files_at_once.files_at_once(1000, "openvino") == 2
    assert files_at_once.files_at_once(1000, "openvino", max_memory=1000) == 6
    machine.setattr(files_at_once, "free_megabytes", lambda: 0)  # the system does not tell
    assert files_at_once.files_at_once(1000, "openvino") == 1


def test_a_gpu_takes_one_at_a_time(machine: pytest.MonkeyPatch) -> None:
    assert files_at_once.files_at_once(1000, "tensorrt") == 1
    machine.setattr(files_at_once, "glob", lambda pattern: ["/dev/nvidia0"] if "nvidia" in pattern else [])
    assert files_at_once.files_at_once(1000, "auto") == 1
    assert files_at_once.files_at_once(1000, "openvino") == 8


def test_want_of_memory_is_told_from_other_failures() -> None:
    info = StreamInfo(width=640, height=360, pixel_format="yuv420p", time_base=(1, 25))
    with pytest.raises(NoMemory, match="1 MB are free") as failed:
        plan_memory(info, "stream-nano", "eager", 0, available=1)
    assert isinstance(error_of(Failure.of("derain", failed.value)), NoMemory)
    assert isinstance(error_of(Failure.of("derain", MemoryError())), NoMemory)
    assert not isinstance(error_of(Failure.of("derain", DerainError("no"))), NoMemory)


def test_a_worker_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_job(*_: object, **__: object) -> None:
        raise NoMemory("too little")

    monkeypatch.setattr(batch_worker, "run_job", run_job)
    (tmp_path / "a.mp4").write_bytes(b"")
    told: list[bool] = []
    job = Job(source=str(tmp_path / "a.mp4"), destination=str(tmp_path / "b.mkv"), model="identity")
    result = batch_worker.carried_out(job, no_memory=lambda: told.append(True))
    assert (result.status, result.error, told) == ("failed", "too little", [True])


_WORKER = """
import signal, sys, time
from pathlib import Path
import zmq
from pipeline.batch_wire import Done, Idle, Order, pack, unpack
from pipeline.job import JobResult

folder, address, name = Path(sys.argv[1]), *sys.argv[-2:]
here = folder / f"{name}.here"
here.touch()

def leave(*_):
    here.unlink()
    sys.exit()

signal.signal(signal.SIGTERM, leave)
front = zmq.Context.instance().socket(zmq.DEALER)
front.setsockopt(zmq.IDENTITY, name.encode())
front.connect(address)
while True:
    front.send(pack(Idle()))
    order = unpack(front.recv())
    if not isinstance(order, Order):
        leave()
    time.sleep(0.5)
    others = len(list(folder.glob("*.here"))) - 1
    source = order.job.source
    starved = source.startswith("huge") or (source.startswith("big") and others > 0)
    result = JobResult(status="failed" if starved else "done", source=source, destination="", model="",
                       error="short of memory" if starved else None)
    front.send(pack(Done(order.number, result, starved)))
"""


def test_a_file_that_needs_more_than_is_left_has_the_machine_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two 4K files at a time on a machine with memory for one: the second was refused and had failed, though it would
    have gone through after the first. Real workers, which are told to be short of memory while there are others."""
    (tmp_path / "worker.py").write_text(_WORKER)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/worker.py {tmp_path} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    jobs = [Job(source=name, destination=f"{name}.mkv") for name in ("a", "big-1", "big-2", "b", "huge", "c", "d")]
    with Batch(2) as batch:
        results = batch.run(jobs, Watcher())
        assert len(results) == len(jobs)
        assert {result.source: result.status for result in results if result.error} == {"huge": "failed"}
        assert {result.source for result in results[:4]} == {"a", "b", "c", "d"}
        again = batch.run([Job(source=name, destination=f"{name}.mkv") for name in "efgh"], Watcher())
        assert [result.status for result in again] == ["done"] * 4
        assert len(list(tmp_path.glob("*.here"))) == 2  # as many at a time as before
