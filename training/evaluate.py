"""`derain eval`: how well a model derains, measured on pairs of rainy and clean clips, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from training.metrics import Perceptual
    from training.pairs import Pair

REPEATS = 8
"""How often a picture is shown to a model with a memory, so that its membranes have settled when it is scored."""


def eval_(
    rainy: Annotated[
        Path | None, typer.Option(help="Rainy video, folder of pictures, or folder of videos.", show_default=False)
    ] = None,
    clean: Annotated[
        Path | None,
        typer.Option(help="The same without rain; may be the same folder (NAME.clean.mp4).", show_default=False),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Instead of the two: a data set's folder (Rain200L, NTURain …).", show_default=False),
    ] = None,
    layout: Annotated[str, typer.Option(help="Layout of --data by name; auto tells by the files' names.")] = "auto",
    model: Annotated[str, typer.Option(help="Name or file, as `derain run` takes it.")] = "stream",
    runtime: Annotated[str, typer.Option(help="Runtime by name; auto takes the best.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the network.")] = None,
    carried_only: Annotated[
        bool, typer.Option("--carried-only", help="Leave the second pass out, that forgets before each frame.")
    ] = False,
    reset_every_frame: Annotated[
        bool, typer.Option("--reset-every-frame", help="Forget before each frame, and measure nothing else.")
    ] = False,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Score each picture of a folder by itself, not as frames of a clip.")
    ] = False,
    repeat: Annotated[
        int, typer.Option(min=1, help="Show a standing picture so often to a model with a memory, score the last.")
    ] = REPEATS,
    energy_frames: Annotated[
        int, typer.Option(min=0, help="Count spikes and energy on the first so many frames of each clip; 0: don't.")
    ] = 6,
    energy_clips: Annotated[int, typer.Option(min=1, help="… of so many clips, spread over all.")] = 8,
    lpips: Annotated[
        bool | None, typer.Option("--lpips/--no-lpips", help="LPIPS; by default where its extra is installed.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Tables in Markdown on stdout.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Measure a model on pairs of rainy and clean clips, with its membranes carried and with a reset every frame.

    PSNR and SSIM are on luma as the paper has them (BT.601, 16..235), on RGB beside it. Flicker is what changes from
    frame to frame and should not, in 8-bit steps of luma. Energy is that of the convolutions, 0.9 pJ an accumulate and
    4.6 pJ a multiply-accumulate (45 nm), against the same network without spikes.
    """
    import time

    if markdown and json:
        raise typer.BadParameter("--markdown or --json, not both")
    _check_model(model)
    pairs, standing = _pairs(rainy, clean, data, layout, pictures)
    from esdnet import Derainer
    from training.eval_report import as_json, as_markdown, as_table
    from training.evaluation import evaluate_pair
    from training.probe import Probe

    started = time.monotonic()
    derainer = Derainer(model, runtime=runtime, threads=threads)
    probe = Probe(model)
    twice = probe.streaming and not carried_only and not reset_every_frame
    forgetful = Derainer(model, runtime=runtime, threads=threads) if twice else None
    perceptual = _perceptual(lpips)
    rows, progress = [], _progress()
    with progress:
        task = progress.add_task("eval", total=len(pairs))
        for pair in pairs:
            progress.update(task, description=pair.name)
            shown = repeat if standing else None
            rows.append(
                evaluate_pair(derainer, pair, reset_every_frame, shown, forgetful=forgetful, perceptual=perceptual)
            )
            progress.advance(task)
        if energy_frames:
            _measure_energy(probe, pairs, rows, energy_frames, energy_clips, repeat if standing else 1, progress)
    result = {
        "model": derainer.model,
        "runtime": derainer.runtime,
        "reset_every_frame": reset_every_frame,
        "repeat": repeat if standing else None,
        "frames": sum(row["frames"] for row in rows),
        "seconds": round(time.monotonic() - started, 3),
        "network": _network(probe),
        "mean": _mean(rows),
        "clips": rows,
    }
    show = as_json if json else as_markdown if markdown else as_table
    show(result)


def _pairs(
    rainy: Path | None, clean: Path | None, data: Path | None, layout: str, pictures: bool
) -> tuple[list[Pair], bool]:
    """The pairs to measure, and whether they are single pictures that are to be shown as standing clips."""
    from training.layouts import NAMES, find_layout
    from training.paired_pictures import check_pairs
    from training.pairs import find_pairs

    if data is not None:
        if rainy is not None or clean is not None:
            raise typer.BadParameter("--data or --rainy and --clean, not both")
        if layout not in NAMES:
            raise typer.BadParameter(f"unknown layout {layout}: one of {', '.join(NAMES)}", param_hint="--layout")
        found = list(find_layout(data, layout).pairs)
        check_pairs(found)
        return found, all(pair.pictures and len(pair.rainy) == 1 for pair in found)
    if rainy is None or clean is None:
        raise typer.BadParameter("needs --rainy and --clean, or --data")
    return find_pairs(rainy, clean, each_picture=pictures), pictures


def _measure_energy(
    probe: Any, pairs: list[Pair], rows: list[dict[str, Any]], frames: int, clips: int, repeat: int, progress: Any
) -> None:
    """Adds `energy` to the rows of at most `clips` clips, spread over all: counting in plain PyTorch is slow."""
    from training.evaluation import energy_of

    count = min(clips, len(pairs))
    chosen = sorted({round(i * (len(pairs) - 1) / max(1, count - 1)) for i in range(count)})
    task = progress.add_task("energy", total=len(chosen))
    for index in chosen:
        progress.update(task, description=f"energy of {pairs[index].name}")
        rows[index]["energy"] = energy_of(probe, pairs[index], frames, repeat)
        progress.advance(task)


def _network(probe: Any) -> dict[str, Any]:
    from dataclasses import asdict

    from esdnet.complexity import complexity

    return asdict(complexity(probe.network))


def _perceptual(wanted: bool | None) -> Perceptual | None:
    """LPIPS as asked for; by default where it is installed, and told where it is but cannot be used."""
    from training.errors import TrainingError
    from training.perceptual import installed, lpips

    if wanted is False or (wanted is None and not installed()):
        return None
    try:
        return lpips()
    except TrainingError as error:
        if wanted:
            raise
        typer.echo(f"derain: left out: {error}", err=True)
        return None


def _check_model(model: str) -> None:
    from esdnet import models

    known = models.names()
    if model not in known and not Path(model).exists():
        raise typer.BadParameter(f"{model} is no file and none of {', '.join(known)}", param_hint="--model")


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over clips, each counting the same; a figure that some clips lack over those that have it."""
    from training.evaluation import difference

    mean: dict[str, Any] = {}
    for side in ("rainy", "derained", "reset"):
        if side not in rows[0]:
            continue
        mean[side] = {}
        for name in rows[0][side]:
            values = [row[side][name] for row in rows if row[side][name] is not None]
            mean[side][name] = sum(values) / len(values) if values else None
    mean["gain_db"] = difference(mean["derained"]["psnr_y"], mean["rainy"]["psnr_y"])
    if "reset" in mean:
        mean["carry_db"] = difference(mean["derained"]["psnr_y"], mean["reset"]["psnr_y"])
    counted = [row["energy"] for row in rows if "energy" in row]
    if counted:
        mean["energy"] = {
            name: sum(one[name] for one in counted) / len(counted)
            for name in ("ratio", "energy_mj", "twin_mj", "kmacs_per_pixel", "kaccumulates_per_pixel")
        }
    return mean


def _progress() -> Any:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)
