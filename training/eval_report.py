"""What `derain eval` prints: a table for a terminal, tables in Markdown, or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]
_NARROW = ("PSNR Y", "gain dB", "SSIM Y", "flicker", "carry dB")  # what 80 columns have room for
_MOST_ROWS = 40  # of clips in the terminal's table; Markdown and JSON have all


def as_json(result: Row) -> None:
    print(json.dumps(result))


def as_table(result: Row) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    console = Console()
    title = f"{result['model']} ({result['runtime']}), {result['frames']} frames: rainy→derained"
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), title_justify="left")
    table.add_column("clip", overflow="fold", min_width=10)
    columns = {name: cell for name, cell in _columns(result).items() if name in _NARROW}
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    rows = result["clips"]
    for row in rows if len(rows) <= _MOST_ROWS else []:
        table.add_row(row["name"], *(cell(row) for cell in columns.values()))
    table.add_section()
    table.add_row(f"mean of {len(rows)}", *(cell(result["mean"]) for cell in columns.values()))
    console.print(table)
    for line in _cost(result):
        console.print(line, highlight=False, soft_wrap=True)


def as_markdown(result: Row) -> None:
    """Quality clip by clip, cost, and where the energy goes."""
    columns = _columns(result)
    reset = ", reset before every frame" if result["reset_every_frame"] else ""
    print(f"## {result['model']} ({result['runtime']}{reset}), {result['frames']} frames\n")
    print("Rainy→derained. PSNR (dB) and SSIM on BT.601 luma, flicker in 8-bit steps of luma.\n")
    _print_rows(
        ["clip", *columns],
        [[row["name"], *(cell(row) for cell in columns.values())] for row in result["clips"]]
        + [[f"**mean of {len(result['clips'])}**", *(cell(result["mean"]) for cell in columns.values())]],
    )
    print()
    for line in _cost(result):
        print(f"{line}\n")
    counted = [row for row in result["clips"] if "energy" in row]
    if counted:
        layers: dict[str, list[Row]] = {}
        for row in counted:
            for layer in row["energy"]["layers"]:
                layers.setdefault(layer["name"], []).append(layer)
        print(f"Where the energy goes, mean of {len(counted)} clip{'s' if len(counted) > 1 else ''}:\n")
        _print_rows(
            ["convolution", "spikes in", "share of the energy", "of its twin's"],
            [[name, *_layer_cells(same)] for name, same in layers.items()],
        )


def _columns(result: Row) -> dict[str, Callable[[Row], str]]:
    mean = result["mean"]
    columns: dict[str, Callable[[Row], str]] = {
        "PSNR Y": _change("psnr_y", 2),
        "gain dB": lambda row: f"{row['gain_db']:+.2f}",
        "SSIM Y": _change("ssim_y", 4),
        "PSNR RGB": _change("psnr_rgb", 2),
        "SSIM RGB": _change("ssim_rgb", 4),
        "flicker": _change("flicker", 2),
    }
    if mean["derained"]["lpips"] is not None:
        columns["LPIPS"] = _change("lpips", 4)
    if "reset" in mean:
        columns["reset each frame"] = lambda row: f"{row['reset']['psnr_y']:.2f}"
        columns["carry dB"] = lambda row: f"{row['carry_db']:+.2f}"
    if "energy" in mean:
        columns["energy/twin"] = lambda row: f"{row['energy']['ratio']:.3f}" if "energy" in row else "-"
    return columns


def _change(name: str, digits: int) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        values = [row[side][name] for side in ("rainy", "derained")]
        return "→".join("-" if value is None else f"{value:.{digits}f}" for value in values)

    return cell


def _cost(result: Row) -> list[str]:
    network = result["network"]
    lines = [
        f"{network['parameters'] / 1e6:.3f} M parameters, {network['kmacs_per_pixel']:.2f} kMAC and "
        f"{network['state_values_per_pixel']:.1f} values of state a pixel"
    ]
    if energy := result["mean"].get("energy"):
        lines.append(
            f"energy {energy['energy_mj']:.3g} mJ a frame, {energy['ratio']:.3f} of the non-spiking twin's "
            f"{energy['twin_mj']:.3g} mJ: {energy['kmacs_per_pixel']:.2f} kMAC and "
            f"{energy['kaccumulates_per_pixel']:.2f} thousand accumulates a pixel (4.6 and 0.9 pJ, 45 nm)"
        )
    return lines


def _layer_cells(same: list[Row]) -> list[str]:
    def mean(name: str) -> float:
        return sum(layer[name] or 0.0 for layer in same) / len(same)

    spikes = f"{mean('spikes'):.3f} a neuron" if same[0]["spiking"] else "none: multiplies"
    return [spikes, f"{mean('energy_share'):.1%}", f"{mean('ratio'):.3f}"]


def _print_rows(header: list[str], rows: list[list[str]]) -> None:
    print(f"| {' | '.join(header)} |")
    print(f"|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |")
