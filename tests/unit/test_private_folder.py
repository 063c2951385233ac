"""The folder of a job's sockets: private, gone at the end, and swept when everyone who could remove it was killed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import DerainError
from pipeline.private_folder import private_folder


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of few letters: pytest's own, in one of several processes, is too long for sockets in it."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        yield Path(folder)


def test_only_the_user_may_enter_and_at_the_end_it_is_gone(base: Path) -> None:
    with private_folder() as folder:
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        (Path(folder) / "socket").touch()
    assert list(base.iterdir()) == []


def test_it_is_gone_after_an_error_too(base: Path) -> None:
    with pytest.raises(ZeroDivisionError), private_folder():
        raise ZeroDivisionError
    assert list(base.iterdir()) == []


def test_one_left_by_a_killed_owner_is_swept_and_one_in_use_is_not(base: Path) -> None:
    hold = (
        "import sys, tempfile, time; from pipeline.private_folder import private_folder\n"
        "tempfile.tempdir = sys.argv[1]\n"
        "with private_folder() as folder: print(folder, flush=True); time.sleep(60)"
    )
    root = Path(__file__).parents[2]
    owners = [
        subprocess.Popen([sys.executable, "-c", hold, str(base)], stdout=subprocess.PIPE, text=True, cwd=root)
        for _ in range(2)
    ]
    try:
        left, used = (Path(owner.stdout.readline().strip()) for owner in owners if owner.stdout)
        owners[0].send_signal(signal.SIGKILL)
        owners[0].wait()
        assert left.is_dir()
        with private_folder():
            assert not left.exists()
            assert used.is_dir()
    finally:
        for owner in owners:
            owner.kill()
            owner.communicate()


def test_what_only_looks_like_ours_is_left_alone(base: Path) -> None:
    (base / "derain-report.txt").write_text("mine")
    (base / "derain-photos").mkdir()
    with private_folder():
        pass
    assert sorted(path.name for path in base.iterdir()) == ["derain-photos", "derain-report.txt"]


def test_a_path_too_long_for_sockets_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with pytest.raises(DerainError, match="set TMPDIR to a shorter one"), private_folder():
        pass
    assert list(long.iterdir()) == []


def test_no_folder_for_temporary_files_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/no/such/place")
    with pytest.raises(DerainError, match=r"/no/such/place: no room for sockets .*TMPDIR"), private_folder():
        pass
