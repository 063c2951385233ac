"""`derain models`: which models there are, and the card of one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipeline.errors import UsageError

LISTED = ("parameters", "licence", "description")
"""What of a card's head the list shows, where the card has it."""


def models(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Show the whole card of this model.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout: a list, or the card of NAME.")] = False,
) -> None:
    """List the models, or show the card of one: data, licences, training, figures."""
    import json

    from esdnet import models as named

    if name and name not in named.names():
        raise UsageError(f"unknown model {name!r}; there are: {', '.join(named.names())}")
    if as_json:
        cards = [_without_text(named.card(each)) for each in named.names()]
        typer.echo(json.dumps(named.card(name) if name else cards, default=str))
    elif name:
        _show_card(named.card(name))
    else:
        _show_list([named.card(each) for each in named.names()])


def _without_text(card: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in card.items() if key != "text"}


def _show_list(cards: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("name", "weights", *LISTED)
    for card in cards:
        cells = (escape(_text(card.get(key, ""))) for key in LISTED)
        table.add_row(card["name"], "shipped" if card["shipped"] else "[yellow]none shipped[/]", *cells)
    console = Console(highlight=False)
    console.print(table)
    console.print("More of one: derain models NAME. The first is what derain run takes.")


def _show_card(card: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_header=False, title=card["name"], title_justify="left")
    table.add_row("weights", "shipped" if card["shipped"] else "none shipped: give --model the path of a checkpoint")
    for key, value in _without_text(card).items():
        if key not in ("name", "shipped"):
            table.add_row(key, escape(_text(value)))
    console = Console(highlight=False)
    console.print(table)
    console.print(Markdown(card["text"]))


def _text(value: Any) -> str:
    """A value of a card's head for people: thousands set apart, lists and nested entries a line each."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_text(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return "\n".join(_text(entry) for entry in value)
    return str(value).strip()
