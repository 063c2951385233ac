"""`derain eval`: how well a model derains, measured on pairs of rainy and clean clips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from training.clips import ClipFrame, ClipInfo
    from training.metrics import Scores
    from training.pairs import Pair

REPEATS = 8
"""How often a picture is shown to a model with a memory, so that its membranes have settled when it is scored."""


def eval_(
    rainy: Annotated[Path, typer.Option(help="Rainy video, folder of pictures, or folder of videos.")],
    clean: Annotated[Path, typer.Option(help="The same without rain; may be the same folder (NAME.clean.mp4).")],
    model: Annotated[str, typer.Option(help="Name or file, as `derain run` takes it.")] = "stream",
    runtime: Annotated[str, typer.Option(help="Runtime by name; auto takes the best.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the network.")] = None,
    reset_every_frame: Annotated[
        bool, typer.Option("--reset-every-frame", help="Forget before each frame, to see what the memory is worth.")
    ] = False,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Score each picture of a folder by itself, not as frames of a clip.")
    ] = False,
    repeat: Annotated[
        int, typer.Option(min=1, help="With --pictures: show each so often to a model with a memory, score the last.")
    ] = REPEATS,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Measure a model on pairs of rainy and clean clips.

    PSNR and SSIM are on luma as the paper has them (BT.601, 16..235), PSNR on RGB beside it. Flicker is what changes
    from frame to frame and should not, in 8-bit steps of luma.
    """
    import time

    from training.pairs import find_pairs

    _check_model(model)
    pairs = find_pairs(rainy, clean, each_picture=pictures)
    from esdnet import Derainer

    started = time.monotonic()
    derainer = Derainer(model, runtime=runtime, threads=threads)
    rows, progress = [], _progress()
    with progress:
        task = progress.add_task("eval", total=len(pairs))
        for pair in pairs:
            progress.update(task, description=pair.name)
            rows.append(evaluate_pair(derainer, pair, reset_every_frame, repeat if pictures else None))
            progress.advance(task)
    result = {
        "model": derainer.model,
        "runtime": derainer.runtime,
        "reset_every_frame": reset_every_frame,
        "repeat": repeat if pictures else None,
        "frames": sum(row["frames"] for row in rows),
        "seconds": round(time.monotonic() - started, 3),
        "mean": _mean(rows),
        "clips": rows,
    }
    _print_json(result) if json else _print_table(result)


def evaluate_pair(
    derainer: Any, pair: Pair, reset_every_frame: bool = False, repeat: int | None = None
) -> dict[str, Any]:
    """Derain a clip with a fresh memory and score it.

    `repeat` shows the frame so often before it is scored (a standing picture); a model without memory sees it once.
    Returns name, frames, gain_db and, for `rainy` and `derained`, psnr_y, ssim_y, psnr_rgb and flicker.
    """
    from training.errors import TrainingError
    from training.metrics import Scores

    before, after = Scores(), Scores()
    derainer.reset()
    for number, (frame, truth, info) in enumerate(_frames(pair)):
        if reset_every_frame:
            derainer.reset()
        clean, given = truth.rgb(), frame.rgb()
        if clean.shape != given.shape:
            size, other = (f"{a.shape[1]}×{a.shape[0]}" for a in (given, clean))
            raise TrainingError(f"{pair.name}, frame {number}: the rainy one is {size}, the clean one {other}")
        derained = _derain(derainer, frame, info, given if pair.pictures else None)
        if repeat and derainer.state and not reset_every_frame:
            for _ in range(repeat - 1):
                derained = _derain(derainer, frame, info, given if pair.pictures else None)
        _add(before, given, clean, pair)
        _add(after, derained, clean, pair)
    rainy, dry = before.means(), after.means()
    frames, gain = len(before.psnr_y), _difference(dry["psnr_y"], rainy["psnr_y"])
    return {"name": pair.name, "frames": frames, "rainy": rainy, "derained": dry, "gain_db": gain}


def _derain(derainer: Any, frame: ClipFrame, info: ClipInfo, rgb: Any) -> Any:
    """One frame through the network: pictures as RGB, video as the planes it came in, then to RGB by its own tags."""
    import numpy as np

    from training.clips import to_frame

    if rgb is not None:
        return np.asarray(derainer(rgb))
    y, u, v = derainer(frame.planes, full_range=info.full_range)
    return to_frame((y, u, v), info).to_ndarray(format="rgb24")


def _add(scores: Scores, image: Any, truth: Any, pair: Pair) -> None:
    from training.errors import TrainingError

    try:
        scores.add(image, truth)
    except ValueError as error:
        raise TrainingError(f"{pair.name}: {error}") from error


def _frames(pair: Pair) -> Iterator[tuple[ClipFrame, ClipFrame, ClipInfo]]:
    """Rainy and clean frames side by side; TrainingError where one clip ends before the other or changes its size."""
    from training.errors import TrainingError

    rainy, clean = _read(pair.rainy, pair.name), _read(pair.clean, pair.name)
    count = 0
    try:
        while True:
            left, right = next(rainy, None), next(clean, None)
            if left is None and right is None:
                return
            if left is None or right is None:
                short = "rainy" if left is None else "clean"
                raise TrainingError(f"{pair.name}: the {short} clip ends after {count} frames, the other goes on")
            yield left[0], right[0], left[1]
            count += 1
    finally:
        rainy.close()
        clean.close()


def _read(files: tuple[Path, ...], name: str) -> Any:
    from training.clips import ClipReader
    from training.errors import TrainingError

    size = None
    for file in files:
        with ClipReader(file) as reader:
            here = reader.info.width, reader.info.height
            if size is not None and here != size:
                raise TrainingError(
                    f"{file} is {here[0]}×{here[1]}, the pictures before it {size[0]}×{size[1]}; "
                    "pass --pictures to score each by itself"
                )
            size = here
            for frame in reader:
                yield frame, reader.info


def _check_model(model: str) -> None:
    from esdnet import models

    known = models.names()
    if model not in known and not Path(model).exists():
        raise typer.BadParameter(f"{model} is no file and none of {', '.join(known)}", param_hint="--model")


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over clips, each counting the same; flicker over those that have it."""
    mean: dict[str, Any] = {}
    for side in ("rainy", "derained"):
        mean[side] = {}
        for name in rows[0][side]:
            values = [row[side][name] for row in rows if row[side][name] is not None]
            mean[side][name] = sum(values) / len(values) if values else None
    mean["gain_db"] = _difference(mean["derained"]["psnr_y"], mean["rainy"]["psnr_y"])
    return mean


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


def _progress() -> Any:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def _print_json(result: dict[str, Any]) -> None:
    import json

    print(json.dumps(result))


def _print_table(result: dict[str, Any]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    title = f"{result['model']} ({result['runtime']}), {result['frames']} frames: rainy→derained"
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), title_justify="left")
    table.add_column("clip", overflow="fold")
    for column in ("PSNR Y", "gain dB", "SSIM Y", "PSNR RGB", "flicker"):
        table.add_column(column, justify="right", no_wrap=True)
    rows = result["clips"]
    for row in rows if len(rows) <= 40 else []:
        table.add_row(row["name"], *_cells(row))
    table.add_section()
    table.add_row(f"mean of {len(rows)}", *_cells(result["mean"]))
    Console().print(table)


def _cells(row: dict[str, Any]) -> list[str]:
    def change(name: str, digits: int) -> str:
        values = [row[side][name] for side in ("rainy", "derained")]
        return "→".join("-" if value is None else f"{value:.{digits}f}" for value in values)

    gain = f"{row['gain_db']:+.2f}"
    return [change("psnr_y", 2), gain, change("ssim_y", 4), change("psnr_rgb", 2), change("flicker", 2)]
