"""Everything about a live order that can be known to be wrong before a process is started."""

from __future__ import annotations

import os

import msgspec

from pipeline.errors import DerainError, UsageError
from pipeline.frame import StreamInfo
from pipeline.job import check_model
from pipeline.live.encoder import live_settings
from pipeline.live.messages import TICKS
from pipeline.live_status import LiveOrder
from pipeline.protocols import check_protocol
from pipeline.sinks.live import live_destination
from pipeline.sinks.place import check_places
from pipeline.sinks.rolling_name import is_template
from pipeline.sources.live_address import live_address


def check_order(order: LiveOrder, *, stdio: bool = False) -> None:
    """Look at addresses, model, codec and destinations.

    Args:
        order: The stream.
        stdio: Whether "-" may be read and written here.

    Raises:
        UsageError: What was asked for cannot be meant.
        DerainError: A file is missing, or can't be written.
    """
    for name, least in (("stall_timeout", 0.1), ("open_timeout", 0.1), ("gop", 0.04), ("segment_time", 0.5)):
        if not getattr(order, name) >= least:
            raise UsageError(f"{name.replace('_', ' ')} must be at least {least:g} s, not {getattr(order, name):g}")
    if order.duration is not None and not order.duration > 0:
        raise UsageError(f"--duration must be above 0 s, not {order.duration:g}")
    if not stdio and "-" in (order.source, *order.destinations):
        raise UsageError("a served stream can't use standard input or output (-); name an address")
    address = live_address(order.source)
    if address.url.startswith("file:") and not os.path.exists(order.source):
        raise DerainError(
            f"{order.source}: no such file; live sources are rtsp://, rtmp://, http://, udp://, /dev/video0 …"
        )
    check_protocol(order.source)
    check_model(order.model)
    like = StreamInfo(width=64, height=64, pixel_format="yuv420p", time_base=(1, TICKS))
    encoder = live_settings(order, like).codec
    check_places(order.destinations)
    for destination in order.destinations:
        if is_template(destination) and order.segment_time < order.gop:
            raise UsageError(
                f"segment time ({order.segment_time:g} s) must be at least gop ({order.gop:g} s): "
                "each segment begins with a keyframe"
            )
        live_destination(destination, overwrite=order.overwrite, encoder=encoder, sound=order.audio)
        check_protocol(destination, output=True)


def resolved(address: str) -> str:
    """`env:NAME` is the address that the environment variable holds, so that no command line shows it.

    Raises:
        DerainError: There is no such variable.
    """
    if not address.startswith("env:"):
        return address
    name = address.removeprefix("env:")
    value = os.environ.get(name, "")
    if not value:
        raise DerainError(f"{address}: the environment has no variable {name}; set it to the address")
    return value


def resolve(order: LiveOrder) -> LiveOrder:
    """The order with its addresses as they are."""
    return msgspec.structs.replace(
        order, source=resolved(order.source), destinations=[resolved(one) for one in order.destinations]
    )
