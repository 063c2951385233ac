"""`derain doctor`: what this machine has for deraining, what is missing and how to get it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from pipeline.machine import Machine, Part


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of tables.")] = False,
) -> None:
    """Show what this machine has, what is missing and how to get it.

    Exit code 1 when something that `derain run` cannot do without is broken.
    """
    from pipeline import machine

    found = machine.inspect()
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(found).decode())
    else:
        _show(found)
    if found.problems:
        raise typer.Exit(1)


def _show(found: Machine) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(_facts(found))
    console.print(_parts("Runtimes", found.runtimes))
    console.print(_parts("Encoders", found.encoders))
    console.print(_parts("Decoders", found.decoders))
    for problem in found.problems:
        console.print(f"problem: {problem}", style="bold red", markup=False)
    if not found.problems:
        console.print("Ready: try [bold]derain run rainy.mp4 clean.mp4[/bold]")


def _facts(found: Machine) -> Table:
    from rich.table import Table

    table = Table(show_header=False, title=f"derain {found.derain}", title_justify="left")
    cuda = f"built for CUDA {found.torch_cuda}" if found.torch_cuda else "CPU build"
    torch = f"{found.torch.version} ({cuda}), {found.torch_threads} threads {found.torch.note}".rstrip()
    rows = {
        "System": found.system,
        "Processor": f"{found.cpu}, {found.cores} cores",
        "Memory": f"{_gib(found.memory_total)}, {_gib(found.memory_available)} free",
        "GPU": "\n".join(found.gpus) or "none that NVIDIA's driver knows (nvidia-smi)",
        "Python": found.python,
        "PyTorch": torch if found.torch.state == "ready" else f"{found.torch.state}: {found.torch.note}",
        "FFmpeg": f"{found.ffmpeg}, by PyAV {found.pyav}",
        "Protocols": _protocols(found.protocols),
        "Shared memory": f"{_gib(found.shared_memory_free)} free in /dev/shm",
        "Temporary files": f"{_gib(found.temp_free)} free in {found.temp_folder}",
    }
    for name, text in rows.items():
        table.add_row(name, text)
    return table


def _protocols(parts: list[Part]) -> str:
    there = ", ".join(part.name for part in parts if part.state == "ready")
    return "\n".join([there, *(f"no {part.name}: {part.note}" for part in parts if part.state != "ready")])


def _parts(title: str, parts: list[Part]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table("name", "state", "version", "what it is, or how to get it", title=title, title_justify="left")
    colours = {"ready": "green", "broken": "red", "missing": "yellow"}
    for part in parts:
        table.add_row(part.name, f"[{colours[part.state]}]{part.state}[/]", part.version, escape(part.note))
    return table


def _gib(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"
