"""`derain train`: one training run, from a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[Path, typer.Argument(help="The run's YAML file; see configs/.")],
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after so many minutes, with a checkpoint to go on from.")
    ] = None,
) -> None:
    """Train a network as a YAML file says. A run that was stopped goes on where it was.

    The run's folder gets last.pt (to go on from), average.safetensors (the averaged weights: give its path as --model)
    and TensorBoard logs. On several GPUs: torchrun --nproc-per-node 4 -m pipeline train RUN.yaml
    """
    from training.checkpoints import WEIGHTS
    from training.distributed import speaks_for_all
    from training.run_config import read_run
    from training.train import train as train_run

    run = read_run(config)
    train_run(
        run,
        report=lambda line: typer.echo(line, err=True),
        stop_after=None if minutes is None else minutes * 60,
    )
    if speaks_for_all():
        typer.echo(str(run.path / WEIGHTS))
