"""Whether a UDP source that FFmpeg has given up sends something all the same, which FFmpeg does not tell."""

from __future__ import annotations

import ipaddress
import socket
import struct
import time
from urllib.parse import parse_qs

from pipeline.addresses import split_address

LISTEN = 0.5
"""Seconds."""
_PACKET, _SYNC = 188, 0x47
"""MPEG-TS."""


def noise_comes(address: str, seconds: float = LISTEN) -> bool:
    """Whether datagrams come that are no MPEG-TS. Nobody else may read there meanwhile.

    Args:
        address: udp://[HOST]:PORT, HOST a multicast group or anything.
        seconds: How long to listen.
    """
    try:
        with _listening(address) as listener:
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                listener.settimeout(left)
                data = listener.recv(65536)
                if data:
                    return len(data) % _PACKET != 0 or any(first != _SYNC for first in data[::_PACKET])
    except (OSError, ValueError):  # nothing came in time, or it can't be listened to
        pass
    return False


def _listening(address: str) -> socket.socket:
    parts = split_address(address)
    group = _multicast(parts.hostname or "")
    listener = socket.socket(socket.AF_INET6 if group and group.version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if group is None:
            listener.bind(("", parts.port or 0))
            return listener
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(group), parts.port or 0))
        if group.version == 6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group.packed + struct.pack("@I", 0))
        else:
            ours = parse_qs(parts.query).get("localaddr", ["0.0.0.0"])[0]
            listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group.packed + socket.inet_aton(ours))
        return listener
    except BaseException:
        listener.close()
        raise


def _multicast(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    return found if found.is_multicast else None
