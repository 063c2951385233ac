"""What `derain run` was asked for, where it is a live stream; and that no option is asked for in vain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pipeline.errors import UsageError
from pipeline.live_status import LiveOrder, OnLoss, OnOverload, RtspTransport
from pipeline.sinks.live import is_live_destination
from pipeline.sources.live_address import is_live_source

LIVE_MODEL = "stream-nano"
"""Unless another is asked for: the one that keeps up on a processor."""

_SHARED = {
    *("source", "destinations", "model", "runtime", "codec", "crf", "preset", "threads", "scene_cut", "overwrite"),
    *("quiet", "json"),
}
_LIVE_ONLY = {
    *("live", "duration", "on_overload", "on_loss", "stall_timeout", "wait", "rtsp_transport", "gop", "audio"),
    *("segment_time", "keep"),
}


def is_live(source: str, destinations: list[str]) -> bool:
    """Whether `derain run` with these arguments is a live run untold. `env:NAME` counts by what it names.

    DerainError where it names nothing.
    """
    named = [source, *destinations]
    if any(one.startswith("env:") for one in named):
        from pipeline.live.check import resolved

        named = [resolved(one) for one in named]
    return is_live_source(named[0]) or any(is_live_destination(one) for one in named[1:])


def live_order(params: Mapping[str, Any], given: set[str]) -> LiveOrder:
    """The order of a live run.

    Args:
        params: The command's parameters by name.
        given: Those that were on the command line.

    Raises:
        UsageError: An option for files was given, or a word that is none of its choices.
    """
    if vain := sorted(given - _SHARED - _LIVE_ONLY):
        raise UsageError(f"{_named(vain)}: for files only; a live stream has no such thing")
    for name, choices in (("on_overload", OnOverload), ("on_loss", OnLoss), ("rtsp_transport", RtspTransport)):
        if params[name] not in get_args(choices):
            raise UsageError(f"{_named([name])} {params[name]}: choose one of {', '.join(get_args(choices))}")
    same = {
        *("source", "destinations", "runtime", "threads", "codec", "crf", "preset", "overwrite", "duration"),
        *("on_overload", "on_loss", "stall_timeout", "rtsp_transport", "gop", "audio", "segment_time"),
    }
    return LiveOrder(
        id="run",
        model=params["model"] if "model" in given else LIVE_MODEL,
        scene_cuts=params["scene_cut"],
        wait_for_source=params["wait"],
        keep_segments=params["keep"],
        **{name: params[name] for name in same},
    )


def check_offline(destinations: list[str], given: set[str]) -> None:
    """UsageError for what only a live run knows."""
    if len(destinations) > 1:
        raise UsageError("several destinations are for live streams; a file has one (or add --live)")
    if vain := sorted(given & _LIVE_ONLY):
        raise UsageError(f"{_named(vain)}: for live streams only; add --live to play a file at its own pace")


def _named(options: list[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in options)
