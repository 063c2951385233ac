"""Where the processes of live streams come from: whose children they are, and what happens when the nursery dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.live_camera import Camera
from tests.live_run import LiveRun, accounted

pytestmark = [
    pytest.mark.alone,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only"),
]


def nursery_of(pid: int) -> psutil.Process:
    return next(p for p in psutil.Process(pid).children() if "pipeline.live.nursery_process" in p.cmdline())


def said(more: str) -> list[str]:
    """Lines of a process that has a nursery, as pytest should adopt nobody."""
    code = f"""
import os, signal, sys, time
from pipeline.live.births import Birth
from pipeline.live.nursery import Nursery
def birth(name, kind="stage", parent=os.getpid()):
    return Birth(name=name, kind=kind, stage="decode", order=b"none", parent=parent)
def born(nursery, name):
    while True:
        for found, process in nursery.born():
            assert found == name
            return process
        time.sleep(0.01)
with Nursery() as nursery:
    {more}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def test_who_is_born_is_our_child_and_its_words_and_code_are_ours(tmp_path: Path) -> None:
    log = tmp_path / "log"
    told = said(
        f"log = open({str(log)!r}, 'wb'); nursery.ask(birth('a'), log.fileno()); it = born(nursery, 'a');"
        "print(type(it).__name__, it.wait(60.0))"
    )
    assert told == ["Child 1"]
    assert "JSON is malformed" in log.read_text()


def test_the_front_of_a_stream_is_the_first_of_a_group(tmp_path: Path) -> None:
    """Who is told of it may end the whole group at once: the group was made a moment later, and nobody was ended."""
    told = said(
        "nursery.ask(birth('a', 'stream'), 2); it = born(nursery, 'a');"
        "print(os.getpgid(it.pid) == it.pid, os.getpgid(nursery.pid) == os.getpgid(0), it.wait(60.0))"
    )
    assert told == ["True True 2"]


def test_all_streams_are_of_one_session() -> None:
    """Each was a session of its own, between which Linux shares a core out whatever their priorities are: a network
    that steps back did so for nobody."""
    told = said(
        "nursery.ask(birth('a', 'stream'), 2); it = born(nursery, 'a');"
        "print(os.getsid(it.pid) == os.getsid(0), it.wait(60.0))"
    )
    assert told == ["True 2"]


def test_a_nursery_killed_before_it_could_tell_leaves_nobody_beside_the_one_started_next(tmp_path: Path) -> None:
    """It had forked and not yet answered: its child was adopted and began, and another was started for the same stage,
    so that two wrote to one file."""
    log = tmp_path / "log"
    told = said(
        f"log = open({str(log)!r}, 'wb'); nursery.close();\n"
        "    from pipeline.live import nursery_process\n"
        "    nursery_process.pack = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"  # in the middle of an answer
        "    nursery = Nursery(); print(type(nursery._process).__name__); nursery.ask(birth('a'), log.fileno());\n"
        "    it = born(nursery, 'a'); print(type(it).__name__, it.wait(60.0)); time.sleep(1.0); nursery.close()"
    )
    assert told == ["Forked", "Popen 1"]
    assert log.read_text().count("JSON is malformed") == 1


def test_what_was_asked_of_a_nursery_that_dies_is_started_all_the_same() -> None:
    told = said(
        "os.kill(nursery.pid, signal.SIGSTOP); nursery.ask(birth('a'), 2); os.kill(nursery.pid, signal.SIGKILL);"
        "it = born(nursery, 'a'); print(type(it).__name__, it.wait(60.0));"
        "time.sleep(2.0); nursery.look(); nursery.ask(birth('b'), 2); print(type(born(nursery, 'b')).__name__)"
    )
    assert told == ["Popen 1", "Child"]


def test_a_nursery_that_stands_still_is_not_waited_for() -> None:
    """SIGSTOP: every restart waited for a minute, as for one that imports PyTorch. Who has borne the like answers at
    once, or is replaced."""
    told = said(
        "nursery.ask(birth('a'), 2); born(nursery, 'a').wait(60.0); os.kill(nursery.pid, signal.SIGSTOP);"
        "began = time.monotonic(); nursery.ask(birth('b'), 2); it = born(nursery, 'b');"
        "print(type(it).__name__, it.wait(60.0), time.monotonic() - began < 40)"
    )
    assert told == ["Popen 1 True"]


def test_who_was_born_before_the_nursery_died_is_not_started_again() -> None:
    """Its answer lay unread when asking for the next one failed: the process was started a second time, and two of them
    answered to one name."""
    told = said(
        "nursery.ask(birth('a'), 2); time.sleep(8.0); os.kill(nursery.pid, signal.SIGKILL); time.sleep(0.5);"
        "nursery.ask(birth('b'), 2); both = [];\n"
        "    while len(both) < 2: both += nursery.born(); time.sleep(0.01)\n"
        "    print(sorted((name, type(it).__name__) for name, it in both)); time.sleep(1.0); print(nursery.born())"
    )
    assert told == ["[('a', 'Child'), ('b', 'Popen')]", "[]"]


def test_who_asked_and_died_gets_no_child() -> None:
    assert said("nursery.ask(birth('a', parent=1), 2); print(born(nursery, 'a').wait(60.0))") == ["1"]


def test_a_stream_goes_on_without_its_nursery_and_gets_another(tmp_path: Path) -> None:
    with Camera() as camera, LiveRun(tmp_path, camera.url) as run:
        run.running()
        first = nursery_of(run.process.pid)
        stages = {name: run.stage(name) for name in ("decode", "derain", "encode")}
        os.kill(first.pid, signal.SIGKILL)
        run.more(30)
        assert {name: run.stage(name) for name in stages} == stages
        assert nursery_of(run.process.pid).pid != first.pid
        run.kill("derain")
        run.wait(lambda status: status.restarts.get("derain") == 1)
        run.more()
        status = run.stop()
    assert status.restarts == {"derain": 1}
    assert accounted(status)


def test_a_network_that_runs_steps_back_for_whoever_starts(tmp_path: Path) -> None:
    """All went alike: on a full core a stage that was killed had to share with every network that ran, and was back
    after five seconds and more. All threads of the running one step back, nobody else does, nor its successor."""
    source = "lavfi:testsrc2=size=64x48:rate=5"
    ours = os.nice(0)

    def niceness(pid: int) -> set[int]:
        return {os.getpriority(os.PRIO_PROCESS, thread.id) for thread in psutil.Process(pid).threads()}

    with LiveRun(tmp_path, source, model="stream-nano", runtime="eager", threads=1, audio=False) as run:
        run.running()
        assert niceness(run.stage("derain")) == {min(19, ours + 5)}
        others = [run.process.pid, nursery_of(run.process.pid).pid, run.stage("decode"), run.stage("encode")]
        assert [niceness(pid) for pid in others] == [{ours}] * 4
        run.kill("derain")
        run.wait(lambda status: status.restarts.get("derain") == 1)
        assert niceness(nursery_of(run.process.pid).pid) == {ours}
        run.more()
        run.stop()


@pytest.mark.parametrize("model", ["identity", "stream-nano"])
def test_the_nursery_can_fork_whatever_it_has_loaded(tmp_path: Path, model: str) -> None:
    """A library that starts a thread when it is imported would take the quick way from all streams, unseen."""
    source = "lavfi:testsrc2=size=64x48:rate=5"
    with LiveRun(tmp_path, source, model=model, runtime="eager", threads=1, audio=False) as run:
        run.running()
        nursery = nursery_of(run.process.pid)
        assert nursery.num_threads() == 1
        assert len(psutil.Process(run.process.pid).children()) == 4
        for stage in ("decode", "derain", "encode"):
            executable = Path(f"/proc/{run.stage(stage)}/cmdline").read_bytes().split(b"\0")
            assert b"-P" not in executable, "it was started in an interpreter of its own"
        run.stop()


def test_who_is_born_imports_nothing_that_runs_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PySceneDetect runs ffmpeg when it is imported: each derain stage that was born did so, a tenth of a second of
    processor that the other streams of the machine lost frames for. The nursery has imported it once for all."""
    runs = tmp_path / "runs"
    fake = tmp_path / "ffmpeg"
    fake.write_text(f"#!/bin/sh\necho >> {runs}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with Camera() as camera, LiveRun(tmp_path, camera.url, model="stream-nano", runtime="eager", threads=1) as run:
        run.running()
        before = runs.read_text().count("\n")
        run.kill("derain")
        run.wait(lambda status: status.restarts.get("derain") == 1)
        run.more()
        run.stop()
    assert before == 1
    assert runs.read_text().count("\n") == before
