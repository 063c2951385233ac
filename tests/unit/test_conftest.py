"""The fixtures of every test ask for no package that some of the tests do without."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NETWORK_ALONE = """
import importlib.util, sys

absent = {"av", "cv2", "msgspec", "pydantic", "typer", "zmq"}
sys.modules |= dict.fromkeys(absent)  # importing one is a ModuleNotFoundError
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in absent else found(name, package)

import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def test_they_go_where_the_network_alone_is_installed(tmp_path: Path) -> None:
    """`make test-tensorrt` ended while conftest was loaded: a fixture of every test imported the encoders, whose
    packages that environment has not got."""
    (tmp_path / "test_one.py").write_text("def test_one(): pass\n")
    shutil.copy(ROOT / "tests/conftest.py", tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", NETWORK_ALONE, str(tmp_path)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 passed" in run.stdout
