"""`derain compare A B OUT`: two videos, folders of pictures or pictures in one, to be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import DerainError, UsageError

if TYPE_CHECKING:
    from pipeline.side_by_side import Layout
    from pipeline.sinks import EncodeOptions, Sink
    from pipeline.sources import Source


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="The left one: a video, a picture or a folder of pictures.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The right one, of the same size and as many frames.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="What to write, of the same kind; sound comes from A.")],
    split: Annotated[
        bool, typer.Option("--split", help="One screen: the left half of A beside the right half of B.")
    ] = False,
    labels: Annotated[str, typer.Option(help='Two words to write on them: "rainy,derained".')] = "",
    codec: Annotated[str, typer.Option(help="Video encoder.")] = "libx264",
    crf: Annotated[float | None, typer.Option(help="Quality, lower is better; by default near to transparent.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON on stdout.")] = False,
) -> None:
    """Put two videos or pictures side by side, or split one screen between them."""
    import json

    from pipeline.side_by_side import Layout
    from pipeline.sinks import EncodeOptions

    layout = Layout(split=split, labels=_two_labels(labels))
    frames, width, height = _compare(a, b, out, layout, EncodeOptions(codec=codec, crf=crf, overwrite=overwrite))
    if as_json:
        typer.echo(json.dumps({"out": out, "frames": frames, "width": width, "height": height}))
    else:
        typer.echo(f"{out}: {frames} frames, {width}×{height}")


def _two_labels(text: str) -> tuple[str, str]:
    if not text:
        return "", ""
    words = [word.strip() for word in text.split(",")]
    if len(words) != 2:
        raise UsageError(f'--labels takes two words with a comma between, as in "rainy,derained", not {text!r}')
    return words[0], words[1]


def _compare(a: str, b: str, out: str, layout: Layout, options: EncodeOptions) -> tuple[int, int, int]:
    """Write `out`; returns its frames, width and height. UsageError where that would replace one of the two."""
    import os

    from pipeline.side_by_side import check_pair, describe
    from pipeline.sinks import open_sink
    from pipeline.sources import open_source

    for source in (a, b):
        if os.path.exists(out) and os.path.exists(source) and os.path.samefile(source, out):
            raise UsageError(f"{out}: is one of the two itself; choose another name for OUT")
    with open_source(a) as left, open_source(b) as right:
        check_pair(left.info, right.info)
        info = describe(left.info, layout)
        with open_sink(out, info, options, a) as sink:
            frames = _write_all(left, right, sink, layout, (a, b))
    for warning in sink.warnings:
        typer.echo(f"derain: {warning}", err=True)
    return frames, info.width, info.height


def _write_all(left: Source, right: Source, sink: Sink, layout: Layout, names: tuple[str, str]) -> int:
    from itertools import zip_longest

    from pipeline.side_by_side import put_together

    count = 0
    for one, other in zip_longest(left, right):
        if one is None or other is None:
            short, long = names if one is None else reversed(names)
            raise DerainError(f"{short} has {count} frames and {long} has more: they are not the same clip")
        sink.write(put_together(one, other, (left.info, right.info), layout))
        count += 1
    return count
