"""`derain run` on a live source, or into a live destination: until it is told to stop, it goes on."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any

import msgspec
import typer

from pipeline.errors import DerainError, UsageError
from pipeline.live_status import LiveOrder, LiveStatus
from pipeline.redact import hide_arguments, redact, scrub


class LiveResult(msgspec.Struct, kw_only=True):
    """How a live run went: the JSON line of `derain run --json`."""

    status: str  # "done" or "failed"
    source: str
    destinations: dict[str, str]  # address -> how it ended
    model: str
    runtime: str = ""
    frames_in: int = 0  # read and decoded
    frames_out: int = 0  # of those that reached the encoder: frames_in = frames_out + all of dropped
    frames_passed: int = 0  # of frames_out those with their rain
    frames_filled: int = 0  # shown while the source was away
    dropped: dict[str, int] = {}
    sink_dropped: dict[str, int] = {}
    age_ms: dict[str, float | None] = {}
    resets: dict[str, int] = {}
    reconnects: int = 0
    restarts: dict[str, int] = {}
    firing_rate: float | None = None
    fps: float = 0.0
    seconds: float = 0.0
    warnings: list[str] = []
    error: str | None = None


def run_live(order: LiveOrder, *, quiet: bool, json: bool) -> None:
    """Carry the order out.

    Raises:
        DerainError: It failed, or a destination was away at the end.
        KeyboardInterrupt: Two signals: the second ends it at once.
    """
    from pipeline.live.check import check_order, resolve
    from pipeline.live.nursery import Nursery
    from pipeline.live.session import LiveSession

    hide_arguments(sys.argv[1:])
    if json and "-" in order.destinations:
        raise UsageError("--json and the destination - both want standard output; leave one out")
    asked: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        if len(asked) > 1:
            raise KeyboardInterrupt("ended at once, as asked twice")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
    seen: list[LiveStatus] = []
    line = _Line(quiet or json or not sys.stderr.isatty())
    descriptors = {
        "stdin": os.dup(0) if order.source == "-" else -1,
        "stdout": os.dup(1) if "-" in order.destinations else -1,
    }

    def listen(status: LiveStatus) -> None:
        seen[:] = [status]
        if order.destinations == ["-"] and status.destinations.get("-", "").startswith("failed") and not asked:
            asked.append(signal.SIGPIPE)  # whoever read our output has left
        line.show(status)

    try:
        order = resolve(order)
        with Nursery() as nursery:  # it gets ready while we look at the order
            check_order(order, stdio=True)
            final = LiveSession(order, nursery, listen, **descriptors).run(lambda: bool(asked))
    except DerainError as error:
        text = scrub(str(error), [order.source, *order.destinations])
        if json:
            _say(_result(order, seen[-1] if seen else None, text))
        raise type(error)(text) from error
    finally:
        line.end()
    for warning in final.warnings:
        print(f"derain: note: {warning}", file=sys.stderr)
    away = [state.removeprefix("failed: ") for state in final.destinations.values() if state.startswith("failed: ")]
    if json:
        _say(_result(order, final, away[0] if away else None))
    elif not quiet:
        print(_summary(final), file=sys.stderr)
    if away:
        raise DerainError(f"{away[0]}; it was away at the end")


def _say(result: LiveResult) -> None:
    typer.echo(msgspec.json.encode(result).decode())


def _result(order: LiveOrder, status: LiveStatus | None, error: str | None) -> LiveResult:
    if status is None:
        return LiveResult(status="failed", source=redact(order.source), destinations={}, model=order.model, error=error)
    return LiveResult(
        status="failed" if error else "done",
        source=status.source,
        destinations=status.destinations,
        model=order.model,
        runtime=status.runtime,
        frames_in=status.frames_read,
        frames_out=status.frames_written,
        frames_passed=status.frames_passed,
        frames_filled=status.frames_filled,
        dropped=status.dropped,
        sink_dropped=status.sink_dropped,
        age_ms={"p50": status.age_ms_p50, "p99": status.age_ms_p99},
        resets=status.resets,
        reconnects=status.reconnects,
        restarts=status.restarts,
        firing_rate=status.firing_rate,
        fps=status.frames_written / status.uptime if status.uptime else 0.0,
        seconds=status.uptime,
        warnings=status.warnings,
        error=error,
    )


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in sorted(counts.items()) if number)


def _summary(status: LiveStatus) -> str:
    age = f", age {status.age_ms_p50:.0f} ms (p99 {status.age_ms_p99:.0f})" if status.age_ms_p99 is not None else ""
    dropped = f", dropped: {_counted(status.dropped)}" if any(status.dropped.values()) else ""
    again = f", {status.reconnects} reconnect{'s' * (status.reconnects != 1)}" if status.reconnects else ""
    resets = f", resets: {_counted(status.resets)}" if status.resets else ""
    how = "" if status.runtime in ("", "none") else f" on {status.runtime}"
    return (
        f"{status.source}: {status.frames_written} of {status.frames_read} frames in {status.uptime:.1f} s, "
        f"{status.model}{how}{age}{dropped}{again}{resets}"
    )


class _Line:
    """One line on a terminal that says how it goes."""

    def __init__(self, silent: bool) -> None:
        self._status: Any = None
        if not silent:
            from rich.console import Console

            self._status = Console(stderr=True).status("starting")
            self._status.start()

    def show(self, status: LiveStatus) -> None:
        if self._status is None:
            return
        age = f", age {status.age_ms_p50:.0f} ms" if status.age_ms_p50 is not None else ""
        away = any(state.startswith(("waiting: ", "failed: ")) for state in status.destinations.values())
        lost = f" ({status.error})" if (away or status.state in ("starting", "lost")) and status.error else ""
        self._status.update(f"{status.state}{lost}: {status.fps_in:.1f} fps in, {status.fps_out:.1f} out{age}")

    def end(self) -> None:
        if self._status is not None:
            self._status.stop()
