"""`derain inspect`: looks into a network while a clip runs through it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from training.inspection import Inspection


def inspect(
    clip: Annotated[Path, typer.Argument(help="Rainy video or picture.")],
    page: Annotated[Path | None, typer.Argument(help="HTML page to write; CLIP.inspect.html here if left out.")] = None,
    clean: Annotated[Path | None, typer.Option(help="The same without rain: shows where it rains for certain.")] = None,
    model: Annotated[str, typer.Option(help="Name or file, as `derain run` takes it.")] = "stream",
    start: Annotated[int, typer.Option(min=0, help="First frame.")] = 0,
    frames: Annotated[int, typer.Option(min=1, max=500, help="How many frames.")] = 24,
    json: Annotated[bool, typer.Option("--json", help="Firing rates a layer as one JSON object on stdout.")] = False,
) -> None:
    """Draw where rain makes neurons fire, membranes over time and firing rates a layer, as one HTML page.

    A picture is shown to a model with a memory as a standing clip.
    """
    from training.inspect_page import write_page
    from training.inspection import inspect_clip
    from training.probe import Probe

    probe = Probe(model)
    pushes, truth = _read(clip, clean, start, frames)
    seen = inspect_clip(probe, model, pushes, truth)
    target = page or Path(f"{clip.stem}.inspect.html")
    write_page(seen, target, f"{clip.name} through {model}")
    if json:
        _print_json(seen, target)
    else:
        typer.echo(str(target))


def _read(clip: Path, clean: Path | None, start: int, count: int) -> tuple[list[Any], list[Any] | None]:
    """Frames as callables that push themselves through a probe, and the clean clip's as RGB."""
    from training.clips import ClipReader
    from training.errors import TrainingError
    from training.paired_pictures import read_picture
    from training.pairs import PICTURES

    for path in (clip, clean):
        if path is not None and not path.exists():
            raise TrainingError(f"{path} is not there")
    if clip.suffix.lower() in PICTURES:
        if start:
            raise TrainingError(f"{clip} is a picture: it has no frame {start}; leave --start out")
        picture = read_picture(clip)
        return (
            [lambda probe: probe.picture(picture) for _ in range(count)],
            None if clean is None else [read_picture(clean)] * count,
        )
    pushes: list[Any] = []
    with ClipReader(clip, upright=True) as reader:
        for index, frame in enumerate(reader):
            if start <= index < start + count:
                pushes.append(lambda probe, frame=frame, full=reader.info.full_range: probe.video(frame, full))
            elif index >= start + count:
                break
    if not pushes:
        raise TrainingError(f"{clip} has no frame {start}; lower --start")
    if clean is None:
        return pushes, None
    truth = []
    with ClipReader(clean, upright=True) as reader:
        for index, frame in enumerate(reader):
            if start <= index < start + len(pushes):
                truth.append(frame.rgb())
    if len(truth) < len(pushes):
        raise TrainingError(f"{clean} ends before {clip} does: the two don't belong together")
    return pushes, truth


def _print_json(seen: Inspection, target: Path) -> None:
    import json
    import math

    layers = [
        {
            "name": layer.name,
            "rate": layer.rate,
            "rates": layer.rates,
            "rain_over_dry": None if math.isnan(layer.preference) else layer.preference,
        }
        for layer in seen.layers
    ]
    print(json.dumps({"model": seen.model, "frames": seen.frames, "page": str(target), "layers": layers}))
