"""A `derain serve` to test against: a process of its own, whose streams are stand-ins (`tests.fake_live`) or real ones.

>>> with RunningService(tmp_path, streams=[{"id": "a", "source": "fake://runs"}]) as service:
...     service.until("a", "running")
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import yaml

ROOT = Path(__file__).parent.parent
TOKEN = "a-token-only-for-tests"
PATIENCE = 60.0
"""Seconds that anything may take on a busy machine before a test gives up."""


class RunningService:
    """Starts it, asks it, ends it."""

    def __init__(
        self,
        folder: Path,
        *,
        real: bool = False,
        token: str | None = TOKEN,
        environment: dict[str, str] | None = None,
        options: Sequence[str] = (),
        **content: Any,
    ) -> None:
        """
        Args:
            folder: For its file and its log.
            real: Whether streams are real ones.
            token: Its token; None: nobody can change anything.
            environment: Added to its environment.
            options: Of the command.
            content: Of the file, besides listen.port.
        """
        folder.mkdir(exist_ok=True)
        self.path = folder / "live.yaml"
        self.log = folder / "service.log"
        self._real, self._options = real, options
        self._environment = {**os.environ, **(environment or {})}
        self._environment.pop("DERAIN_TOKEN", None)
        if token is not None:
            self._environment["DERAIN_TOKEN"] = token
        self.write(**content)
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def write(self, **content: Any) -> None:
        """Write its file anew."""
        content = {"restart": {"first_delay": 0.2}} | content
        content["listen"] = {"port": 0} | content.get("listen", {})
        self.path.write_text(yaml.safe_dump(content, sort_keys=False))

    def __enter__(self) -> Self:
        module = "pipeline" if self._real else "tests.running_service"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, "serve", str(self.path), *self._options],
                cwd=ROOT,
                stderr=log,
                env=self._environment,
            )
        found = wait_for(
            lambda: re.search(r"http://\S+", self.said()) or self.process.poll() is not None, "its address"
        )
        assert isinstance(found, re.Match), f"the service ended: {self.said()}"
        self.url = found.group().rstrip("/")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(PATIENCE)
        if error is not None:
            print(self.said())

    def said(self) -> str:
        """Its log so far."""
        return self.log.read_text(errors="replace")

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: Any = None,
        token: str | None = TOKEN,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Status and content (JSON read, else bytes) of an answer."""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request = Request(self.url + path, data, method=method, headers=headers or {})
        if data is not None and not request.has_header("Content-type"):
            request.add_header("Content-Type", "application/json")
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            answer = urlopen(request, timeout=PATIENCE)
        except HTTPError as error:
            answer = error
        with answer:
            content = answer.read()
            if answer.headers.get_content_type() == "application/json":
                return answer.status, json.loads(content)
            return answer.status, content

    def streams(self) -> dict[str, Any]:
        return {stream["id"]: stream for stream in self.ask("/api/streams")[1]["streams"]}

    def stream(self, name: str) -> Any:
        return self.ask(f"/api/streams/{name}")[1]

    def until(self, name: str, *states: str) -> Any:
        """Wait until a stream is in one of these states; its snapshot."""

        def there() -> Any:
            stream = self.stream(name)
            return stream if stream.get("state") in states else None

        return wait_for(there, f"{name} to be {' or '.join(states)}", lambda: f"{self.stream(name)}\n{self.said()}")


def wait_for(condition: Callable[[], Any], what: str, explain: Callable[[], str] = lambda: "") -> Any:
    """What `condition` gives once it is true; fails after PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s for {what}; {explain()}"
        time.sleep(0.05)
    return found


def main() -> int:
    """`derain serve FILE` with stand-ins for its streams; errors as `derain` shows them."""
    from pipeline import cli
    from pipeline.service import server
    from pipeline.service.config import StreamConfig
    from pipeline.service.order import check_streams
    from tests.fake_live import COMMAND

    def check(streams: Sequence[StreamConfig]) -> None:
        """All but the sources, which are stand-ins."""
        check_streams(one.model_copy(update={"source": one.source.replace("fake:", "rtsp:")}) for one in streams)

    class Service(server.Service):
        def __init__(self, path: str, **settings: Any) -> None:
            super().__init__(path, command=COMMAND, check=check, **settings)

    server.Service = Service  # type: ignore[misc]
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
