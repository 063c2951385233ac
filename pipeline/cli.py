"""The command line's root: `derain COMMAND`. Knows where each command is, how errors are shown, and nothing of video.

A command's module is imported only when that command is called (or its own --help is asked for). Exit codes: 0 done,
1 the job failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import os
import select
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from pipeline.errors import DerainError, UsageError

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("pipeline.commands.run:run", "Take the rain out of a video or a folder of pictures."),
    "batch": ("pipeline.commands.batch:batch", "Take the rain out of a library of videos."),
    "compare": ("pipeline.commands.compare:compare", "Put two videos or pictures side by side, or split one screen."),
    "stage": ("pipeline.commands.stage:stage", "Run one stage by itself, on a host of its own."),
    "keys": ("pipeline.commands.keys:keys", "Make the keys by which stages on several hosts know each other."),
    "serve": ("pipeline.commands.serve:serve", "Derain many live streams, watched and shown on a web page."),
    "models": ("pipeline.commands.models:models", "List the models, or show the card of one."),
    "bench": ("pipeline.commands.bench:bench", "Measure how fast this machine derains, and what it could do."),
    "export": ("pipeline.commands.export:export", "Build a TensorRT engine ahead of its first frame."),
    "doctor": ("pipeline.commands.doctor:doctor", "Show what this machine has, what is missing and how to get it."),
}
"""Name -> ("module:function", line in the help)."""

EXTRAS = {
    "tensorboard": "training",
    "skimage": "training",
    "matplotlib": "training",
    "PIL": "training",
    "torchmetrics": "lpips",
    "torchvision": "lpips",
    "openvino": "openvino",
    "torch_tensorrt": "tensorrt",
    "tensorrt": "tensorrt",
    "ray": "ray",
    "starlette": "serve",
    "uvicorn": "serve",
    "prometheus_client": "serve",
    "aiortc": "serve",
}
"""Module that may be missing -> the extra of `pip install 'derain[EXTRA]'` that brings it."""


def _commands() -> dict[str, tuple[str, str]]:
    """Ours, and training's where that package is installed (the module is a table of names and costs nothing)."""
    try:
        added: dict[str, tuple[str, str]] = import_module("training.cli").COMMANDS
    except ModuleNotFoundError as error:
        if error.name != "training":
            raise
        return COMMANDS
    return COMMANDS | added


def _load(name: str, target: str) -> Any:
    """Import a command's function and make it a click command named `name`."""
    module, function = target.split(":")
    found = getattr(import_module(module), function)
    if isinstance(found, typer.Typer):  # has commands of its own
        return typer.main.get_command(found)
    app = typer.Typer(add_completion=False)
    app.command(name)(found)
    return typer.main.get_command(app)


class LazyGroup(TyperGroup):
    """A group that knows its commands by name and help line, and imports one only to run it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (_, line) in _commands().items():
            self.add_command(TyperCommand(name, help=line))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None:
            command = _load(name, _commands()[name][0])
        return name, command, rest


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"derain {version('derain')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors (or DERAIN_DEBUG=1).")] = False,
) -> None:
    """Take rain out of video with a spiking neural network.

    Start with: derain run rainy.mp4 clean.mp4
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run `derain` with `argv` (by default the process's) and return the exit code; errors become one line."""
    args = list(sys.argv[1:] if argv is None else argv)
    options = args[: args.index("--")] if "--" in args else args
    if "--debug" in options:  # accepted behind the command too, where people add it
        args.remove("--debug")
        os.environ["DERAIN_DEBUG"] = "1"
    command = typer.main.get_command(app)
    if "_DERAIN_COMPLETE" in os.environ:
        command.main(args, prog_name="derain")
    try:
        code = _call(command, args)
        sys.stdout.flush()  # here, where it can be noticed that the reader has gone
        return code
    except Exception as error:
        return _explain(error, args)


def _call(command: Any, args: list[str]) -> int:
    """Run the command; an exit code for the ways of ending that are not errors."""
    try:
        with command.make_context("derain", args) as context:
            command.invoke(context)
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort) as stopped:
        return _fail(f"interrupted; {stopped}" if str(stopped) else "interrupted", 130)
    return 0


def _explain(error: Exception, args: list[str]) -> int:
    """One line and an exit code for what a command raised."""
    if isinstance(error, BrokenPipeError) and _reader_left():
        return 1
    if isinstance(error, UsageError):
        return _fail(str(error), 2)
    esdnet_errors = sys.modules.get("esdnet.errors")  # not there: then nobody can have raised a ModelError
    if isinstance(error, DerainError) or (esdnet_errors and isinstance(error, esdnet_errors.ModelError)):
        return _fail(str(error), 1)
    if hasattr(error, "format_message"):  # click's own: a wrong option, a missing argument
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)
            return 2
        context = getattr(error, "ctx", None)
        hint = f" (see: {context.command_path} --help)" if context else ""
        return _fail(f"{error.format_message().rstrip('.')}{hint}", 2)
    if isinstance(error, ModuleNotFoundError):
        module = (error.name or "").partition(".")[0]
        if module in EXTRAS:
            name = next((arg for arg in args if not arg.startswith("-")), "")
            return _fail(
                f"derain {name} needs the {EXTRAS[module]} extra ({module} is not installed): "
                f"pip install 'derain[{EXTRAS[module]}]'",
                1,
            )
    said = f"{type(error).__name__}: {error}"
    return _fail(f"internal error: {said} (run with --debug to see where, and please report it)", 1)


def _fail(text: str, code: int) -> int:
    if os.environ.get("DERAIN_DEBUG", "0") not in ("", "0") and code != 130:
        traceback.print_exc()
    print(f"derain: {' '.join(text.split())}", file=sys.stderr)
    return code


def _reader_left() -> bool:
    """Whether it is our stdout whose reader has gone (`derain … | head`): then nobody is there to be told."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit complains again
        return True
    # A text longer than the buffer was written past it: then nothing is left in it to be flushed.
    with suppress(OSError, ValueError):  # no file at all
        asked = select.poll()
        asked.register(sys.stdout.fileno(), select.POLLOUT)
        return any(event & select.POLLERR for _, event in asked.poll(0))
    return False


if __name__ == "__main__":
    sys.exit(main())
