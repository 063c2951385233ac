"""Network addresses taken apart."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from pipeline.errors import UsageError
from pipeline.redact import redact


def split_address(address: str) -> SplitResult:
    """The parts of SCHEME://…, its port a number or None. UsageError, without what may be secret, where it is none."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # looked at only when it is asked for
    except ValueError as error:
        raise UsageError(
            f"{redact(address)}: is no address; a port is a number up to 65535, / and # in a password are %2F and %23"
        ) from error
    return parts
