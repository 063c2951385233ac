"""`make bench`: measures this machine and rewrites the figures of docs/benchmarks.md: the data file, chart and tables.

python benchmarks/update_docs.py            # about four minutes, on a machine with nothing else to do
python benchmarks/update_docs.py --draw     # only the chart and the tables, from the data file as it is
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from pipeline.bench.results import Bench
from pipeline.bench.run import measure

DOCS = Path(__file__).parents[1] / "docs"
DATA, CHART, PAGE = DOCS / "benchmarks.json", DOCS / "benchmarks.svg", DOCS / "benchmarks.md"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
MODELS, SIZES = ("stream-nano", "stream"), ((640, 360), (1280, 720), (1920, 1080))


def main(arguments: list[str]) -> None:
    if "--draw" not in arguments:
        found = measure(models=MODELS, sizes=SIZES, identity_at=[(1920, 1080)], seconds=4.0)
        found = msgspec.structs.replace(found, command="make bench")
        DATA.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    found = msgspec.json.decode(DATA.read_bytes(), type=Bench)
    draw(found)
    text = PAGE.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables(found)}\n{END}{after}")
    print(tables(found))


def tables(found: Bench) -> str:
    """The Markdown between the markers."""
    limits = max((row.limits for row in found.networks), key=lambda limits: limits.gflops)
    versions = ", ".join(f"{name} {number}" for name, number in found.versions.items())
    lower = f", in bfloat16 **{limits.bfloat16_gflops:.0f}**" if limits.bfloat16_gflops else ""
    busy = found.load > 0.3 * found.cores
    lines = [
        f"{found.machine}, {found.cores} cores, {found.threads} threads for the network; {found.date}; "
        f"`{found.command}`; {versions}. Matrix multiplication (float32, PyTorch) **{limits.gflops:.0f} GFLOP/s**"
        f"{lower}, memory (copy, read and write) **{limits.bandwidth:.1f} GB/s**.",
        "",
        f"**The machine was busy with other work (load {found.load:.1f}): only ratios within the run mean something.**"
        if busy
        else f"Load before the run: {found.load:.2f}.",
        "",
        "| model | size | runtime | fps | ms p50 | ms p99 | GMAC | state, MB | of matmul | of memory | roof, fps |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.model} | {row.width}×{row.height} | {row.runtime} | {row.fps:.3g} | {row.p50_ms:.1f} "
        f"| {row.p99_ms:.1f} | {row.gmacs:.2f} | {row.state_mb:.1f} | {row.share_of_gflops:.0%} "
        f"| {row.share_of_bandwidth:.0%} | {row.roofline_fps:.3g} |"
        for row in found.networks
    ]
    lines += [
        "",
        "| `derain run` | size | fps | of bare decode + encode | busy, s: decode, derain, encode |",
        "|---|---|---|---|---|",
    ]
    for pipe in found.pipelines:
        size = f"{pipe.width}×{pipe.height}, {pipe.frames} frames"
        lines.append(f"| bare decode + encode | {size} | {pipe.bare_fps:.1f} | 1.00 | |")
        for name, fps in pipe.fps.items():
            busy_for = ", ".join(f"{pipe.stages[name][stage]:.1f}" for stage in ("decode", "derain", "encode"))
            lines.append(f"| {name} | {size} | {fps:.1f} | {pipe.ratio[name]:.2f} | {busy_for} |")
    lines += ["", "| one link | processor, ms a frame | wall, ms a frame |", "|---|---|---|"]
    lines += [f"| {link.width}×{link.height} | {link.cpu_ms:.2f} | {link.wall_ms:.2f} |" for link in found.links]
    if start := found.start_up:
        lines += [
            "",
            "| start-up | seconds |",
            "|---|---|",
            f"| `derain --help` | {start.help:.2f} |",
            f"| `derain run --model identity`, two frames | {start.identity:.2f} |",
            f"| `derain run --model {MODELS[0]}`, two frames | {start.model:.2f} |",
            f"| the same, the first time at this size | {start.model_first:.2f} |",
        ]
    return "\n".join(lines) + "\n"


def draw(found: Bench) -> None:
    """Frames a second by model and size, one bar a runtime, and the roofline above them."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "derain"  # the same data draw the same file
    from matplotlib import pyplot

    groups = list(dict.fromkeys((row.model, row.width, row.height) for row in found.networks))
    runtimes = list(dict.fromkeys(row.runtime for row in found.networks))
    figure, axes = pyplot.subplots(figsize=(8, 3.6), layout="constrained")
    wide = 0.8 / len(runtimes)
    for number, runtime in enumerate(runtimes):
        rows = [row for row in found.networks if row.runtime == runtime]
        at = [
            groups.index((row.model, row.width, row.height)) + (number - (len(runtimes) - 1) / 2) * wide for row in rows
        ]
        bars = axes.bar(at, [row.fps for row in rows], wide, label=runtime)
        axes.bar_label(bars, fmt="%.3g", fontsize=7)
    for place, group in enumerate(groups):
        roof = max(row.roofline_fps for row in found.networks if (row.model, row.width, row.height) == group)
        axes.hlines(
            roof, place - 0.45, place + 0.45, colors="0.3", linestyles="dotted", label="" if place else "roofline"
        )
    axes.axhline(25, color="tab:red", linewidth=0.8, label="25 fps")
    axes.set_yscale("log")
    axes.set_ylabel("frames a second")
    axes.set_xticks(range(len(groups)), [f"{model}\n{width}×{height}" for model, width, height in groups], fontsize=8)
    axes.legend(fontsize=8)
    figure.savefig(CHART, metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1:])
