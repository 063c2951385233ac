"""CURVE keys of the hosts: made, kept and read here; who may connect is a list of public keys.

A pair is two files of one line, ``NAME.secret`` (only its user may read it) and ``NAME.public``. The list that a
derain stage lets in is public files one below the other: ``cat decode.public encode.public > allowed``.

Sources: RFC 26/CurveZMQ and RFC 32/Z85 of the ZeroMQ project.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

import zmq

from pipeline.errors import DerainError, UsageError

KEY_LENGTH = 40
"""Characters of a CURVE key in Z85."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY = re.compile(rf"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{{}}@%$#]{{{KEY_LENGTH}}}")


@dataclass(frozen=True)
class KeyPair:
    public: bytes
    secret: bytes


def make_keys(name: str, folder: Path) -> tuple[Path, Path]:
    """Make a new pair in `folder` (made where it is not there) and return its secret and its public file.

    UsageError for a name that is none; DerainError where files of that name are there already (an overwritten key
    would lock out whoever trusts it) or cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r}: a key's name is letters, digits, dots and dashes, 64 at most")
    secret, public = folder / f"{name}.secret", folder / f"{name}.public"
    made_public, made_secret = zmq.curve_keypair()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(secret, f"secret {made_secret.decode()}", 0o600)
        try:
            _write(public, f"public {made_public.decode()} {name}", 0o644)
        except OSError:
            secret.unlink()
            raise
    except FileExistsError as error:
        raise DerainError(f"{error.filename}: exists already; choose another name, or remove both files") from error
    except OSError as error:
        raise DerainError(f"{folder}: can't write the keys there ({error.strerror})") from error
    return secret, public


def _write(path: Path, line: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, mode)  # whatever the umask says
        file.write(f"{line}\n")


def read_secret(path: Path) -> KeyPair:
    """The pair of a secret file. DerainError where it cannot be read, holds no key, or others may read it."""
    key = _keys(path, "secret")
    if len(key) != 1:
        raise DerainError(f"{path}: holds {len(key)} keys; a secret file has one")
    if stat.S_IMODE(os.stat(path).st_mode) & 0o077:
        raise DerainError(f"{path}: others may read this secret key; run chmod 600 {path}")
    secret = next(iter(key))
    return KeyPair(zmq.curve_public(secret), secret)


def read_public(path: Path) -> bytes:
    """The key of a public file. DerainError where it cannot be read or holds anything but one key."""
    keys = _keys(path, "public")
    if len(keys) != 1:
        raise DerainError(f"{path}: holds {len(keys)} keys; give the public file of one host")
    return next(iter(keys))


def read_allowed(path: Path) -> dict[bytes, str]:
    """Key -> name of everyone on a list; an empty list lets nobody in. DerainError where it cannot be read."""
    return _keys(path, "public")


def _keys(path: Path, kind: str) -> dict[bytes, str]:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise DerainError(f"{path}: can't read the {kind} key ({error.strerror}); derain keys makes one") from error
    except UnicodeDecodeError as error:
        raise DerainError(f"{path}: is no file of keys; derain keys makes one") from error
    found: dict[bytes, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        words = line.split()
        if len(words) < 2 or words[0] not in ("public", "secret") or not _KEY.fullmatch(words[1]):
            raise DerainError(f"{path}, line {number}: is no key; derain keys makes one")
        if words[0] != kind:
            raise DerainError(f"{path}, line {number}: is a {words[0]} key; give the .{kind} file instead")
        found[words[1].encode()] = " ".join(words[2:])
    return found
