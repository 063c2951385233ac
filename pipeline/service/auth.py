"""Who may read and who may change: one token, compared in constant time.

Changing anything asks for the token in the header (`Authorization: Bearer …`), which a page of another site can't make
a browser send. Reading is free on a loopback address; elsewhere it asks for the token too, in the header or, because
pictures and event streams of a page can't carry headers, in a cookie (HttpOnly, SameSite=Strict) that lets its owner
read and nothing else. The cookie holds no token but a digest of it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from pathlib import Path

from starlette.requests import Request

from pipeline.errors import DerainError, UsageError

COOKIE = "derain_reader"
MIN_LENGTH = 16


class Auth:
    """Checks requests against the token of this service."""

    def __init__(self, token: str | None, *, open_reading: bool) -> None:
        self._token = token
        self.open_reading = open_reading

    @property
    def can_change(self) -> bool:
        """Whether anybody may: without a token nobody can."""
        return self._token is not None

    def reader_cookie(self) -> str:
        """What the cookie of a reader holds."""
        assert self._token is not None
        return hmac.new(self._token.encode(), b"derain reader", hashlib.sha256).hexdigest()

    def may_change(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if self._token is None or scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip().encode(), self._token.encode())

    def may_read(self, request: Request) -> bool:
        if self.open_reading or self.may_change(request):
            return True
        given = request.cookies.get(COOKIE, "")
        return self._token is not None and hmac.compare_digest(given.encode(), self.reader_cookie().encode())


def read_token(token_file: str | None) -> str | None:
    """The token: from DERAIN_TOKEN, else from the file, else none.

    Raises:
        DerainError: The file can't be read, or others than its owner and group can read it.
        UsageError: The token is too short to be one.
    """
    where, token = "DERAIN_TOKEN", os.environ.get("DERAIN_TOKEN", "").strip()
    if not token and token_file is not None:
        where = token_file
        try:
            if os.stat(token_file).st_mode & stat.S_IROTH:
                raise DerainError(f"{token_file}: everybody can read this token; chmod 600 {token_file}")
            token = Path(token_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise DerainError(
                f"{token_file}: the token can't be read ({why}); make one with: openssl rand -hex 32 > {token_file}"
            ) from error
    if not token and token_file is None:
        return None
    if len(token) < MIN_LENGTH:
        raise UsageError(
            f"{where}: a token needs at least {MIN_LENGTH} characters; make one with: openssl rand -hex 32"
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"{where}: a token must be printable ASCII without spaces")
    return token
