"""The error of this package's commands, meant for people. (Wrong options are `typer.BadParameter`, exit code 2.)"""

from __future__ import annotations

from esdnet.errors import ModelError


class TrainingError(ModelError):
    """A training run, an evaluation or a rendering cannot go on: a file is missing, broken or does not fit.

    One line that says what is wrong, where, and what to do. It is a `ModelError` so that the command line, which knows
    esdnet but not this package, shows it as it is and ends with exit code 1.
    """
