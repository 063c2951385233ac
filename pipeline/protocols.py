"""Which network protocols this machine's FFmpeg speaks. It depends on the build: that of PyAV from PyPI has no SRT."""

from __future__ import annotations

import ctypes
from functools import cache

from pipeline.errors import UsageError
from pipeline.redact import redact
from pipeline.sources.live_address import SCHEMES

_CARRIER = {"rtsp": "tcp", "rtsps": "tls"}
"""Those that are no protocol of FFmpeg's by themselves, and what they go over."""
HOW = "build PyAV against a FFmpeg that has it: pip install --no-binary av av"


@cache
def spoken(*, output: bool = False) -> frozenset[str] | None:
    """FFmpeg's names of the protocols that it reads, or writes; None where it can't be asked.

    PyAV has no function for it, but its modules are linked with the FFmpeg that it uses.
    """
    import av._core

    try:
        library = ctypes.CDLL(av._core.__file__)
        following = library.avio_enum_protocols
    except (OSError, AttributeError):
        return None
    following.restype = ctypes.c_char_p
    place, names = ctypes.c_void_p(), set()
    while name := following(ctypes.byref(place), int(output)):
        names.add(name.decode())
    return frozenset(names)


def has_protocol(scheme: str, *, output: bool = False) -> bool:
    """Whether FFmpeg reads, or writes, what begins with SCHEME://; True where it can't be asked."""
    known = spoken(output=output)
    return known is None or _CARRIER.get(scheme, scheme) in known


def check_protocol(address: str, *, output: bool = False) -> None:
    """UsageError where FFmpeg has no such protocol: trying again would change nothing. Names of files are let by."""
    scheme = address.partition("://")[0].lower() if "://" in address else ""
    if scheme in SCHEMES and not has_protocol(scheme, output=output):
        raise UsageError(f"{redact(address)}: this build of FFmpeg has no {scheme}; {HOW}")
