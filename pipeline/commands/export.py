"""`derain export MODEL`: build what a GPU runtime needs ahead of its first frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from esdnet.runtimes.step_spec import StepSpec

BUILT_AHEAD = ("tensorrt",)
"""Runtimes that keep what they build; the others prepare themselves at each start."""


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name (see derain models) or .safetensors.")],
    size: Annotated[str, typer.Option(metavar="WxH", help="Size of the pictures, as 1920x1080.")],
    runtime: Annotated[str, typer.Option(help="Runtime to build for: tensorrt.")] = "tensorrt",
    batch: Annotated[int, typer.Option(min=1, max=256, help="Streams that take a step together.")] = 1,
    full_range: Annotated[bool, typer.Option(help="For pictures of full range (JPEG), not limited (TV).")] = False,
    precision: Annotated[str, typer.Option(help="fp16, or fp32.")] = "fp16",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the file's name only.")] = False,
) -> None:
    """Build the TensorRT engine of a model for one size, so that the first frame need not wait for it.

    The engine fits this GPU and these versions only; build it on the machine that will use it. Prints where it is.
    """
    import sys

    from pipeline.errors import UsageError

    width, height = _size(size)
    if runtime not in BUILT_AHEAD:
        raise UsageError(f"--runtime {runtime}: nothing of it is built ahead; choose {' or '.join(BUILT_AHEAD)}")

    from esdnet.models import load
    from esdnet.runtimes.tensorrt import TensorrtRuntime
    from esdnet.streaming import StreamNet

    network = load(model)
    if not isinstance(network, StreamNet):
        raise UsageError(f"{model}: is a picture network, which runs on eager only; export a stream model")

    def say(text: str) -> None:
        if not quiet:
            print(f"derain: {text}", file=sys.stderr)

    engine = TensorrtRuntime(network, precision=precision, say=say)
    typer.echo(engine.export(_spec(batch, height, width, full_range)))


def _spec(batch: int, height: int, width: int, full_range: bool) -> StepSpec:
    """What `derain run` asks for with one stream, and a batcher with several: planes and packed frames."""
    from esdnet.plane_step import packed_size
    from esdnet.runtimes.step_spec import StepSpec

    if batch == 1:
        return StepSpec(1, height, width, planes=True, full_range=full_range)
    return StepSpec(batch, *packed_size(height, width), planes=False)


def _size(text: str) -> tuple[int, int]:
    """(width, height) of ``WxH``."""
    from pipeline.errors import UsageError

    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) >= 16 and int(height) >= 16):
        raise UsageError(f"--size {text}: give width and height as 1920x1080, each at least 16")
    return int(width), int(height)
