"""What a request brings: JSON of bounded size and depth, in which no key is given twice."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from pipeline.errors import UsageError

_LARGEST = 256 * 1024


async def json_of(request: Request) -> Any:
    """The JSON of a request. It must say that it is JSON, which another site's page can't unasked.

    Raises:
        UsageError: It is none, is too large or too deep, or gives a key twice.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UsageError("the request must have Content-Type: application/json")
    held = b""
    async for chunk in request.stream():
        held += chunk
        if len(held) > _LARGEST:
            raise UsageError(f"a request may hold at most {_LARGEST // 1024} KB")
    try:
        return json.loads(held, object_pairs_hook=_each_once, parse_constant=_no_number)
    except ValueError as error:
        raise UsageError(f"the request is not JSON ({error})") from error
    except RecursionError as error:
        raise UsageError("the request is nested too deeply") from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise UsageError(f"{key} is given twice")
        made[key] = value
    return made


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")
