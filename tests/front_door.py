"""`derain` in this process: the same front door as the shell's, without importing PyTorch anew for every call."""

from __future__ import annotations

import io
import subprocess
from contextlib import redirect_stderr, redirect_stdout

from pipeline.cli import main


def derain(*args: object) -> subprocess.CompletedProcess[str]:
    """Run `derain` with `args`: exit code, stdout and stderr, as `subprocess.run` would give them."""
    command = [str(arg) for arg in args]
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(command)
    return subprocess.CompletedProcess(["derain", *command], code, out.getvalue(), err.getvalue())
