"""Addresses without their secrets, for logs, metrics, errors and process titles.

Secret are: user and password, every value in the query, and of RTMP the stream key, which is the last part of the path.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterable, Sequence

HIDDEN = "***"

_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*)://([^\s'\"<>]+?)(?=[:;,.]*(?:[\s'\"<>]|$))")
"""Up to the stop of a sentence that it stands in, which is none of the address."""
_ADDRESS = re.compile(r"(?is)([a-z][a-z0-9+.-]*)://(.+)")
_WORD = re.compile(r"[a-z]+")


def redact(address: str) -> str:
    """`address` as it may be shown. What is no URL comes back as it is.

    >>> redact("rtsp://admin:hunter2@10.0.0.7/live?token=abc")
    'rtsp://***@10.0.0.7/live?token=***'
    >>> redact("rtmp://example.org/app/stream-key")
    'rtmp://example.org/app/***'
    """
    return _URL.sub(lambda found: _without_secrets(found.group(1), found.group(2)), address)


def redact_each(addresses: Sequence[str]) -> list[str]:
    """Addresses as they may be shown, numbered where two of them look the same without their secrets."""
    shown: list[str] = []
    for address in map(redact, addresses):
        again = sum(1 for other in addresses[: len(shown)] if redact(other) == address)
        shown.append(f"{address} ({again + 1})" if again else address)
    return shown


def scrub(text: str, addresses: Iterable[str] = (), *, foreign: bool = False) -> str:
    """A sentence without the secrets of the URLs in it.

    Args:
        text: May hold URLs anywhere.
        addresses: The stream's own, whose secrets are taken out even where they stand alone.
        foreign: Whether the sentence is not ours (an error of a library, a log, a traceback). Of ours, plain words are
            left alone: a sentence that lacks the word `password` tells that it is the password.
    """
    given = list(addresses)
    for address in given:
        if whole := _ADDRESS.fullmatch(address):  # also one that no pattern finds, as with a space in its password
            text = text.replace(address, _without_secrets(*whole.groups()))
    text = redact(text)
    for secret in sorted({secret for address in given for secret in secrets_of(address)}, key=len, reverse=True):
        if foreign or not _WORD.fullmatch(secret):
            text = re.sub(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", HIDDEN, text)
    return text


def secrets_of(address: str) -> list[str]:
    """The password, the values in the query and the stream key of a URL, where they are long enough to be told apart
    from ordinary words (4 characters)."""
    found = _ADDRESS.fullmatch(address)
    if not found:
        return []
    scheme, rest = found.groups()
    authority, path, query = _parts(rest)
    user, at, _ = authority.rpartition("@")
    held = [user.partition(":")[2]] if at else []
    held += [pair.partition("=")[2] for pair in re.split(r"[&;]", query)]
    if scheme.lower().startswith("rtmp") and path.count("/") >= 2:
        held.append(path.rpartition("/")[2])
    return [secret for secret in held if len(secret) >= 4]


def _parts(rest: str) -> tuple[str, str, str]:
    """Authority, path (with its slash) and query. A password may hold a slash or a question mark as it is, where
    someone did not escape it; so the authority ends at the first of those behind the last @."""
    start = rest.rfind("@") + 1
    end = next((n for n in range(start, len(rest)) if rest[n] in "/?#"), len(rest))
    path, _, query = rest[end:].partition("?")
    return rest[:end], path, query


def _without_secrets(scheme: str, rest: str) -> str:
    authority, path, query = _parts(rest)
    _, at, host = authority.rpartition("@")
    if scheme.lower().startswith("rtmp") and path.count("/") >= 2 and not path.endswith("/"):
        path = f"{path.rpartition('/')[0]}/{HIDDEN}"
    if query:
        pairs = re.split(r"([&;])", query)
        query = "?" + "".join(
            pair if pair in "&;" else f"{pair.partition('=')[0]}={HIDDEN}" if "=" in pair else HIDDEN for pair in pairs
        )
    return f"{scheme}://{HIDDEN + '@' if at else ''}{host}{path}{query}"


def hide_arguments(arguments: Iterable[str]) -> bool:
    """Overwrite the secrets of these arguments in the command line that `ps` shows of this process.

    Linux only: it writes into the process's own copy of its arguments, whose place /proc tells. The moment between the
    start of the process and this call stays; who can't have that names the address by `env:NAME`.

    Returns:
        Whether nothing secret is left to be seen.
    """
    hidden = [(old, redact(old)) for old in arguments if redact(old) != old]
    if not hidden:
        return True
    if sys.platform != "linux":
        return False
    with open("/proc/self/stat", "rb") as stat:
        fields = stat.read().rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end: fields 48 and 49 of proc(5)
    if not 0 < start < end:
        return False
    line = ctypes.string_at(start, end - start)
    for old, new in hidden:
        raw = old.encode(errors="surrogateescape")
        shown = new.encode(errors="surrogateescape")[: len(raw)]
        line = line.replace(raw, shown.ljust(len(raw), b" "))
    ctypes.memmove(start, line, end - start)
    return True
