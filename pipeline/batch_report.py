"""How a batch went: a table of what failed for people, JSON for programs."""

from __future__ import annotations

import os
import sys
from collections import Counter

import msgspec
from rich.console import Console
from rich.table import Table

from pipeline.errors import DerainError
from pipeline.job import JobResult

DONE, SKIPPED, FAILED, INTERRUPTED, PENDING = "done", "skipped", "failed", "interrupted", "not begun"
BEING_MADE = "being made"
"""By another run. Such a file is looked at again, so the report knows none."""


class BatchReport(msgspec.Struct, kw_only=True):
    """What `--report` writes."""

    totals: dict[str, int]
    frames: int
    seconds: float  # of wall clock
    files: list[JobResult]


def report_of(results: list[JobResult], seconds: float) -> BatchReport:
    counts = Counter(result.status for result in results)
    return BatchReport(
        totals={status: counts[status] for status in (DONE, SKIPPED, FAILED, INTERRUPTED, PENDING)},
        frames=sum(result.frames_out - result.resumed for result in results),
        seconds=seconds,
        files=sorted(results, key=lambda result: result.source),
    )


def check_report(path: str) -> None:
    """DerainError where `write_report` could not write: said before a night's work and not after it."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise DerainError(f"--report {path}: there is no folder {folder}; make it first")
    if os.path.isdir(path) or not os.access(folder, os.W_OK | os.X_OK):
        why = "is a folder" if os.path.isdir(path) else f"no right to write into {folder}"
        raise DerainError(f"--report {path}: {why}; choose another place")


def write_report(report: BatchReport, path: str) -> None:
    """Replace `path` by the report. DerainError where that is not possible."""
    part = f"{path}.part"
    try:
        with open(part, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
        os.replace(part, path)
    except OSError as error:
        raise DerainError(f"--report {path}: cannot be written ({error.strerror})") from error


def tell_failed(report: BatchReport) -> None:
    """A line on stderr for each file that failed."""
    for result in report.files:
        if result.status == FAILED:
            why = (result.error or "failed").removeprefix(f"{result.source}: ")
            print(f"derain: {result.source}: {' '.join(why.split())}", file=sys.stderr)


def show(report: BatchReport, console: Console) -> None:
    """The table of what failed and why, and a line that sums up."""
    failed = [result for result in report.files if result.status == FAILED]
    if failed:
        table = Table("file", "why", title=f"{len(failed)} failed", title_justify="left", expand=True)
        for result in failed:
            why = (result.error or "").removeprefix(f"{result.source}: ")
            table.add_row(result.source, why)
        console.print(table, markup=False, highlight=False)
    said = ", ".join(f"{count} {status}" for status, count in report.totals.items() if count) or "nothing to do"
    console.print(f"{said}; {report.frames:,} frames in {report.seconds:.1f} s", markup=False, highlight=False)
