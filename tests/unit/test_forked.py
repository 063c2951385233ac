"""Forked processes: exit codes, signals, what they keep of their parent, and when forking is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.forked import may_fork
from tests.clips import make_clip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")


def child(work: str, more: str = "") -> list[str]:
    """Fork in a process of its own, as pytest has threads; its lines."""
    code = f"""
import os, signal, sys, time
from pipeline.forked import Forked, may_fork
assert may_fork()
log = os.open({os.devnull!r}, os.O_WRONLY)
def work():
    {work}
it = Forked(work, ["-m", "pipeline.stage", "decode"], log, quiet=True)
{more}
print(it.wait(10.0))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.split("\n")[:-1]


def test_exit_code_comes_back() -> None:
    assert child("return 7") == ["7"]


def test_an_exception_is_code_1_and_never_reaches_the_parents_code() -> None:
    assert child("raise ValueError") == ["1"]


def test_signals_show_as_negative_codes() -> None:
    assert child("time.sleep(20)", "it.kill()") == [str(-signal.SIGKILL)]
    assert child("time.sleep(20)", "it.terminate()") == [str(-signal.SIGTERM)]


def test_sigterm_right_after_the_fork_is_not_taken_by_the_parents_handler() -> None:
    more = (
        "signal.signal(signal.SIGTERM, lambda *_: None)\nnext = Forked(work, [], log, quiet=True)\nnext.terminate()\n"
    )
    assert child("time.sleep(20)", more + "it.kill(); print(next.wait(5.0))")[0] == str(-signal.SIGTERM)


def test_a_wait_that_takes_too_long() -> None:
    more = "import subprocess\ntry: it.wait(0.1)\nexcept subprocess.TimeoutExpired: print('late')\nit.kill()"
    assert child("time.sleep(20)", more)[0] == "late"


def test_no_file_of_the_parent_stays_open(tmp_path: Path) -> None:
    said = tmp_path / "open"
    child(f"open({str(said)!r}, 'w').write(str(sorted(os.listdir('/proc/self/fd'), key=int)))")
    assert said.read_text() == str(["0", "1", "2", "3", "4"])  # the file itself, and the listing


def test_ps_shows_what_it_is() -> None:
    more = "time.sleep(0.5)\nprint(open(f'/proc/{it.pid}/cmdline').read().split(chr(0))[-4:-1])\nit.kill()"
    assert child("time.sleep(20)", more)[0] == str(["-m", "pipeline.stage", "decode"])


def test_a_process_with_threads_is_not_forked() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        assert not may_fork()
    finally:
        over.set()
        thread.join()


def test_the_stages_of_a_run_are_forked(tmp_path: Path) -> None:
    """The front came to import numpy on its way to the supervisor, whose threads forbid forking: from then on every run
    started three interpreters again, and nothing said so."""
    source = make_clip(tmp_path / "in.mp4", frames=2)
    code = (
        "import sys, pipeline.supervisor as s\n"
        "def spawned(*_): raise SystemExit('started an interpreter')\n"
        "s._spawned = spawned\n"
        "from pipeline.cli import main\n"
        f"sys.exit(main(['run', {str(source)!r}, {str(tmp_path / 'out.mp4')!r}, '--model', 'identity']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
