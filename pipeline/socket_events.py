"""What happened to a socket's connections, read from its monitor. `zmq.utils.monitor` would do, but it imports asyncio,
which costs each stage a quarter of its start-up.

Source: zmq_socket_monitor(3): a first part of the event (16 bits) and its value (32 bits), a second of the address.
"""

from __future__ import annotations

import struct
from typing import Any

import zmq

_EVENT = struct.Struct("=HI")


def next_event(monitor: zmq.Socket[Any]) -> zmq.Event:
    """The next event of a monitor socket that has one."""
    event, _value = _EVENT.unpack(monitor.recv_multipart()[0])
    return zmq.Event(event)
