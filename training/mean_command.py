"""`derain mean`: several sets of weights as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def mean(
    out: Annotated[Path, typer.Argument(help="The file to write, .safetensors.")],
    weights: Annotated[
        list[str],
        typer.Argument(
            metavar="SHARE:WEIGHTS...",
            help="How much of which: a model's name, a file, or a run's folder, as 0.6:runs/mine 0.4:stream.",
        ),
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it is there.")] = False,
) -> None:
    """Mix weights of one network, legs of one training above all: what one has lost another brings back.

    Shares need not add up to 1. Give OUT as --model to `derain eval` and `derain run`.
    """
    from esdnet.checkpoint import save
    from training.errors import TrainingError
    from training.weight_mean import mean_of_weights, read_share

    if out.suffix != ".safetensors":
        raise TrainingError(f"{out}: must end in .safetensors")
    if out.exists() and not overwrite:
        raise TrainingError(f"{out}: is there already; give another name, or --overwrite")
    network = mean_of_weights([read_share(each) for each in weights])
    save(network, out, {"mean": " + ".join(weights)})
    typer.echo(str(out))
