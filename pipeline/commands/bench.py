"""`derain bench`: how fast this machine derains, and how near that is to what it can do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.bench.results import Bench


def bench(
    model: Annotated[
        list[str] | None, typer.Option(help="Measure this one; may be repeated. [stream-nano, stream]")
    ] = None,
    size: Annotated[list[str] | None, typer.Option(help="WIDTHxHEIGHT; may be repeated. [640x360, 1280x720]")] = None,
    runtime: Annotated[list[str] | None, typer.Option(help="May be repeated. [all that run on this machine]")] = None,
    threads: Annotated[int, typer.Option(min=0, max=1024, help="CPU threads of the network; 0: one a core.")] = 0,
    seconds: Annotated[float, typer.Option(min=0.1, help="For each model, size and runtime.")] = 3.0,
    pipeline: Annotated[bool, typer.Option(help="Whether to measure derain run, links and start-up too.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON on stdout instead of tables.")] = False,
) -> None:
    """Measure this machine: frames a second of the models, of the whole pipeline, and the share of what it can do.

    Ratios are measured in turn within the run; absolute figures need a machine with nothing else to do.
    """
    import msgspec

    from pipeline.bench.run import measure

    found = measure(
        models=model or ["stream-nano", "stream"],
        sizes=[_size(each) for each in size or ["640x360", "1280x720"]],
        runtimes=runtime or [],
        threads=threads,
        seconds=seconds,
        pipeline=pipeline,
    )
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        _show(found)


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{1,4})x([1-9]\d{1,4})", text)
    if not found:
        raise UsageError(f"--size {text}: give WIDTHxHEIGHT in pixels, such as 640x360")
    width, height = int(found[1]), int(found[2])
    if width % 2 or height % 2 or min(width, height) < 16:
        raise UsageError(f"--size {text}: bench takes even sides of 16 pixels or more")
    return width, height


def _show(found: Bench) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    best = max((row.limits for row in found.networks), key=lambda limits: limits.gflops)
    lower = f" (bfloat16 {best.bfloat16_gflops:.0f})" if best.bfloat16_gflops else ""
    console.print(
        f"{found.machine}, {found.cores} cores, {found.threads} threads for the network. Matrix multiplication "
        f"{best.gflops:.0f} GFLOP/s{lower}, memory {best.bandwidth:.1f} GB/s."
    )
    if found.load > 0.3 * found.cores:
        console.print(f"[yellow]The machine was busy (load {found.load:.1f}): only the ratios mean something.[/]")
    table = Table(
        "model",
        "size",
        "runtime",
        "fps",
        "ms p50",
        "p99",
        "of matmul",
        "of memory",
        "roof",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for row in found.networks:
        table.add_row(
            Path(row.model).name, f"{row.width}x{row.height}", row.runtime, f"{row.fps:.3g}", f"{row.p50_ms:.1f}",
            f"{row.p99_ms:.1f}", f"{row.share_of_gflops:.0%}", f"{row.share_of_bandwidth:.0%}",
            f"{row.roofline_fps:.3g}",
        )  # fmt: skip
    console.print(table)
    for pipe in found.pipelines:
        table = Table(f"derain run {pipe.width}x{pipe.height}", "fps", "of bare decode + encode")
        table.add_row("bare", f"{pipe.bare_fps:.1f}", "1.00")
        for name, fps in pipe.fps.items():
            table.add_row(name, f"{fps:.1f}", f"{pipe.ratio[name]:.2f}")
        console.print(table)
    for link in found.links:
        console.print(f"One link, {link.width}x{link.height}: {link.cpu_ms:.2f} ms of processor a frame")
    if start := found.start_up:
        console.print(
            f"Start-up: --help {start.help:.2f} s; two frames with identity {start.identity:.1f} s, with a network "
            f"{start.model:.1f} s, the first time at a size {start.model_first:.1f} s"
        )
