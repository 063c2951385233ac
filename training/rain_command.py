"""`derain rain IN OUT`: rendered rain on a clean video, to make pairs for training, tests and demonstrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from training.clips import ClipReader, Planes
    from training.rain_settings import RainSettings


def rain(
    src: Annotated[str, typer.Argument(metavar="IN", help="A clean video.")],
    dst: Annotated[str, typer.Argument(metavar="OUT", help="The rainy one: .mp4, .mov or .mkv.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same rain.")] = 0,
    random: Annotated[
        bool, typer.Option("--random", help="Draw all knobs from the seed, as training does; those given here stand.")
    ] = False,
    intensity: Annotated[
        float | None, typer.Option(min=0, max=1, help="How many streaks: 0 none, 1 a downpour.  [0.4]")
    ] = None,
    length: Annotated[
        float | None, typer.Option(min=1, max=200, help="Typical streak in pixels of a 360-line picture.  [25]")
    ] = None,
    width: Annotated[float | None, typer.Option(min=0.1, max=12, help="Typical width, likewise.  [1.2]")] = None,
    opacity: Annotated[float | None, typer.Option(min=0, max=1, help="Opacity of a typical streak.  [0.25]")] = None,
    exposure: Annotated[
        float | None,
        typer.Option(min=0.02, max=1, help="Open shutter as part of the frame interval; longer is slower rain.  [0.3]"),
    ] = None,
    angle: Annotated[
        float | None, typer.Option(min=-90, max=90, help="Degrees from the vertical, positive to the right.  [5]")
    ] = None,
    gusts: Annotated[float | None, typer.Option(min=0, max=20, help="Degrees by which wind swings it.  [1.5]")] = None,
    crossing: Annotated[
        float | None, typer.Option(min=-60, max=60, help="Turn half of the drops by this many degrees.  [0]")
    ] = None,
    brightness: Annotated[
        float | None, typer.Option(min=0, max=1, help="Luma of the light in the streaks.  [0.85]")
    ] = None,
    reflection: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of that light that comes from the picture around.  [0]")
    ] = None,
    mist: Annotated[float | None, typer.Option(min=0, max=0.5, help="Greatest opacity of the veil.  [0]")] = None,
    frozen: Annotated[bool, typer.Option("--frozen", help="Rain that stands still.")] = False,
    codec: Annotated[str, typer.Option(help="libx264, or ffv1 (lossless, into .mkv).")] = "libx264",
    crf: Annotated[int, typer.Option(min=0, max=51, help="Quality of libx264; lower is better.")] = 10,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it is there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="End with one line of JSON on stdout.")] = False,
) -> None:
    """Put rendered rain on a clean video.

    Size, timestamps, rotation and colour tags are kept; sound and subtitles are left out. Without knobs it is a
    moderate rain.
    """
    import time

    import numpy as np

    from training.clip_writer import ClipWriter
    from training.clips import ClipReader
    from training.rain_settings import REFERENCE_HEIGHT, RainSettings

    _check_destination(src, dst, codec, overwrite)
    started = time.monotonic()
    rng = np.random.default_rng(seed)
    given = {
        "intensity": intensity,
        "length": length,
        "width": width,
        "opacity": opacity,
        "exposure": exposure,
        "angle": angle,
        "gusts": gusts,
        "crossing": crossing,
        "brightness": brightness,
        "reflection": reflection,
        "mist": mist,
    }
    with ClipReader(src) as reader:
        turned = reader.info.rotation % 180 == 90
        lines = reader.info.width if turned else reader.info.height
        drawn = RainSettings.sample(rng, height=lines) if random else RainSettings(scale=lines / REFERENCE_HEIGHT)
        knobs = {name: value for name, value in given.items() if value is not None} | {"frozen": frozen}
        settings = RainSettings.model_validate(drawn.model_dump() | knobs)
        with ClipWriter(dst, reader.info, codec=codec, crf=crf) as writer:
            frames = 0
            for planes, pts, duration in _progress(_rainy(reader, settings, rng), reader.info.frames):
                writer.write(planes, pts, duration)
                frames += 1
    _report(dst, frames, seed, settings, time.monotonic() - started, json)


def _check_destination(src: str, dst: str, codec: str, overwrite: bool) -> None:
    from pathlib import Path

    from training.clip_writer import CONTAINERS
    from training.errors import TrainingError

    source, target = Path(src), Path(dst)
    if target.suffix.lower() not in CONTAINERS:
        raise typer.BadParameter(f"{dst}: a rainy clip ends in one of {', '.join(CONTAINERS)}", param_hint="OUT")
    if codec not in ("libx264", "ffv1"):
        raise typer.BadParameter(f"{codec} is not one of libx264, ffv1", param_hint="--codec")
    if codec == "ffv1" and target.suffix.lower() != ".mkv":
        raise typer.BadParameter(f"{dst}: ffv1 goes into .mkv", param_hint="--codec")
    if not source.is_file():
        missing = "is a folder, not a video" if source.is_dir() else "is not there"
        raise TrainingError(f"cannot read {src}: it {missing}")
    if not target.parent.is_dir():
        raise TrainingError(f"cannot write {dst}: there is no folder {target.parent}")
    if target.exists():
        if target.samefile(source):
            raise typer.BadParameter(f"{dst} is the clean video itself", param_hint="OUT")
        if not overwrite:
            raise TrainingError(f"{dst} is there already; pass --overwrite to replace it")
        if not target.is_file():
            raise TrainingError(f"cannot write {dst}: it is not a file")


def _rainy(reader: ClipReader, settings: RainSettings, rng: np.random.Generator) -> Iterator[tuple[Planes, int, int]]:
    """The clip's frames with rain that falls down as the picture is shown, whatever way it is stored."""
    import numpy as np

    from training.levels import normalise, quantise
    from training.rain import RainScene
    from training.rain_light import apply

    info = reader.info
    quarters = round(info.rotation / 90)
    height, width = (info.width, info.height) if quarters % 2 else (info.height, info.width)
    scene = RainScene(settings, height, width, rng)
    for frame in reader:
        alpha = np.ascontiguousarray(np.rot90(scene.next(), -quarters))
        clean = normalise(frame.planes, info.full_range)
        wet = apply(clean, alpha, settings)
        yield quantise(wet, info.full_range), frame.pts, frame.duration


def _progress(frames: Iterator[tuple[Planes, int, int]], count: int | None) -> Iterator[tuple[Planes, int, int]]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if not console.is_terminal:
        return frames
    return iter(track(frames, "rain", total=count, console=console, transient=True))


def _report(dst: str, frames: int, seed: int, settings: RainSettings, seconds: float, as_json: bool) -> None:
    import json

    if as_json:
        done = {"frames": frames, "seconds": round(seconds, 3), "seed": seed, "settings": settings.model_dump()}
        print(json.dumps({"out": dst} | done))
    else:
        print(f"{dst}: {frames} frames with rain, seed {seed}, {seconds:.1f} s")
