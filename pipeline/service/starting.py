"""What must be so before a service can start; `derain serve --check` looks at the same."""

from __future__ import annotations

import os

from pipeline.errors import DerainError, UsageError
from pipeline.service.auth import read_token
from pipeline.service.config import ServiceConfig
from pipeline.service.tracing import need_opentelemetry
from pipeline.service.webrtc import need_aiortc


def check_start(config: ServiceConfig) -> str | None:
    """Look at all around the streams: token, folder for leases, extras that are needed.

    Returns:
        The token, where there is one.

    Raises:
        DerainError: The token can't be read, a folder is not there, or an extra is not installed.
        UsageError: The service would be open to the network without a token, or the token is none.
    """
    listen = config.listen
    token = read_token(listen.token_file)
    if not listen.loopback and token is None:
        raise UsageError(
            f"listen.host {listen.host} is open to the network: set listen.token_file (or DERAIN_TOKEN) first"
        )
    if config.lease_folder is not None and not os.path.isdir(config.lease_folder):
        raise DerainError(f"{config.lease_folder}: there is no such folder for leases (lease_folder); make it first")
    if config.tracing is not None:
        need_opentelemetry()
    if config.webrtc.enabled:
        need_aiortc()
    return token
