"""`derain keys NAME`: a pair of CURVE keys, so that stages on several hosts know each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def keys(
    name: Annotated[str, typer.Argument(help="Whose keys: a host or a stage, e.g. decode-hall-3.")],
    folder: Annotated[Path, typer.Option(help="Where the two files go.")] = Path("."),
) -> None:
    """Make NAME.secret (only you may read it; it stays on its host) and NAME.public (to be copied to the others).

    A derain stage lets in whose public keys are on its list: cat decode.public encode.public > allowed
    """
    from pipeline.keys import make_keys

    secret, public = make_keys(name, folder)
    typer.echo(f"{secret}  secret: leave it on its host")
    typer.echo(f"{public}  public: put it on the list of those who may connect, or give it with --server-key")
