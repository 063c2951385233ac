"""The command line's root: what it lists, what it imports, and how errors are shown."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from esdnet.errors import ModelError
from pipeline import cli
from pipeline.errors import DerainError, UsageError
from training.cli import COMMANDS as TRAINING_COMMANDS

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "av", "cv2", "scenedetect", "skimage", "tensorboard")

IMPORTS_OF = """
import contextlib, io, sys
from pipeline.cli import main
with contextlib.redirect_stdout(io.StringIO()) as said:
    code = main(sys.argv[1:])
print(code, len(said.getvalue()) > 200, [name for name in {heavy!r} if name in sys.modules])
"""


@pytest.fixture
def boom(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], int]:
    """Run `derain boom`, a command that raises what it is told to, in this process; returns the exit code."""
    module = types.ModuleType("boom_command")
    monkeypatch.setitem(sys.modules, "boom_command", module)
    monkeypatch.setattr(cli, "COMMANDS", {"boom": ("boom_command:boom", "Raise something.")})
    monkeypatch.delenv("DERAIN_DEBUG", raising=False)

    def call(error: BaseException, *args: str) -> int:
        def boom() -> None:
            raise error

        module.boom = boom  # type: ignore[attr-defined]  # a module made by hand
        return cli.main(["boom", *args])

    return call


@pytest.mark.parametrize("command", [[], *([name] for name in [*cli.COMMANDS, *TRAINING_COMMANDS])], ids=str)
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    script = IMPORTS_OF.format(heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", script, *command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "0 True []", done.stderr


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    for name in ("run", "compare", "models", "doctor", "train", "eval", "rain"):
        assert f" {name} " in said


def test_version_names_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    name, number = capsys.readouterr().out.split()
    assert name == "derain"
    assert number[0].isdigit()


def test_no_command_shows_the_help_and_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "Usage" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("args", "names"),
    [
        (["rnu"], ["'rnu'", "'run'"]),
        (["--nope"], ["--nope", "derain --help"]),
        (["doctor", "--nope"], ["--nope", "derain doctor --help"]),
        (["compare", "only-one.mp4"], ["'B'", "derain compare --help"]),
        (["compare", "a", "b", "c", "--crf", "many"], ["--crf", "number"]),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(
    args: list[str], names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(args) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("derain: ")
    assert said.err.count("\n") == 1
    for name in names:
        assert name in said.err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DerainError("a.mp4: not a video"), 1, "derain: a.mp4: not a video"),
        (DerainError("two\n  lines"), 1, "derain: two lines"),
        (UsageError("--crf 99 is out of range"), 2, "derain: --crf 99 is out of range"),
        (ModelError("no model 'x'"), 1, "derain: no model 'x'"),
        (KeyboardInterrupt(), 130, "derain: interrupted"),
    ],
)
def test_an_error_becomes_one_line_and_its_code(
    boom: Callable[..., int], capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    assert boom(error) == code
    assert capsys.readouterr().err == line + "\n"


def test_an_unforeseen_error_says_how_to_see_more(boom: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert boom(ZeroDivisionError("oh")) == 1
    said = capsys.readouterr().err
    assert said.startswith("derain: internal error: ZeroDivisionError: oh")
    assert "--debug" in said
    assert "Traceback" not in said


def test_debug_behind_the_command_shows_the_traceback(
    boom: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERAIN_DEBUG", "0")  # restored after the test, whatever main sets it to
    assert boom(DerainError("outer"), "--debug") == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.endswith("derain: outer\n")


def test_an_exit_code_asked_for_is_kept(boom: Callable[..., int]) -> None:
    assert boom(typer.Exit(130)) == 130


@pytest.mark.parametrize(("module", "extra"), [("tensorboard", "training"), ("skimage.data", "training")])
def test_a_missing_extra_is_named(
    boom: Callable[..., int], capsys: pytest.CaptureFixture[str], module: str, extra: str
) -> None:
    assert boom(ModuleNotFoundError(f"No module named {module!r}", name=module)) == 1
    said = capsys.readouterr().err
    assert said.startswith("derain: derain boom needs the training extra")
    assert f"pip install 'derain[{extra}]'" in said


def test_any_other_missing_module_is_a_defect(boom: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert boom(ModuleNotFoundError("No module named 'left_pad'", name="left_pad")) == 1
    assert "internal error" in capsys.readouterr().err


def test_a_reader_that_has_gone_is_no_news(tmp_path: Path) -> None:
    """`derain … | head` must end quietly, as other tools do."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "--help"], cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, timeout=60
        )
    assert done.stderr == b""
    assert done.returncode == 1


def test_a_reader_that_leaves_early_is_told_nothing() -> None:
    """`derain rain --help | head` ended with "internal error: BrokenPipeError … please report it": a text longer
    than the buffer of stdout leaves nothing in it whose flush could fail again."""
    code = (
        "import sys; from pipeline import cli;"
        "cli.COMMANDS = {'talk': ('talking:talk', 'Talk.')};"
        "import types; talking = types.ModuleType('talking'); talking.talk = lambda: print('rain ' * 100_000);"
        "sys.modules['talking'] = talking;"
        "sys.exit(cli.main(['talk']))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as talking:
        assert talking.stdout and talking.stderr
        assert talking.stdout.read(5) == b"rain "
        talking.stdout.close()
        assert talking.stderr.read() == b""
    assert talking.returncode == 1
