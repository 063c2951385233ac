"""The state of one stream: what the service knows of it, what its process says, and what is shown of both."""

from __future__ import annotations

import time

from pipeline.live_status import LiveStatus, destination_away
from pipeline.redact import redact
from pipeline.service.past import Past

SILENT_AFTER = 2.0
"""Seconds without a status (one comes every 0.5) after which a stream is shown as dead."""


class State:
    """What a stream is in.

    Args:
        past: Is told when the stream falls silent.
    """

    def __init__(self, past: Past) -> None:
        self._past = past
        self.known = "stopped"
        """As the service knows it: a word of `metrics.STATES`, or "live": then it is what the process says."""
        self.status: LiveStatus | None = None
        """What the present process said last."""
        self._message, self._since = "", time.time()
        self._heard = 0.0
        self._shown = "stopped"

    @property
    def shown(self) -> str:
        """A word of `metrics.STATES`. lost: the source; silent: the process; waiting: for the lease."""
        if self.known != "live":
            return self.known
        if self.silence > SILENT_AFTER:
            return "silent"
        assert self.status is not None
        return self.status.state if self.status.state in ("starting", "running", "lost") else "stopping"

    @property
    def silence(self) -> float:
        """Seconds since the process spoke, or was started."""
        return time.monotonic() - self._heard

    @property
    def since(self) -> float:
        """When it came into its state, in seconds since 1970."""
        self.note()
        return self._since

    @property
    def message(self) -> str:
        """Why it is in its state, without credentials."""
        if self.shown == "silent":
            return f"The process has said nothing for {self.silence:.0f} s."
        if self.known == "live":
            return redact(_why(self.status)) if self.status else ""
        return redact(self._message)

    def set(self, known: str, message: str = "") -> None:
        self.known, self._message = known, message

    def launched(self) -> None:
        """A process is started now; nothing is known of it."""
        self.status, self._heard = None, time.monotonic()
        self.set("starting")

    def take(self, status: LiveStatus) -> None:
        """Its process says this."""
        self.status, self._heard = status, time.monotonic()
        if self.known == "starting":
            self.set("live")

    def note(self) -> None:
        """See whether what is shown has changed. To be called several times a second."""
        shown = self.shown
        if shown != self._shown:
            self._shown, self._since = shown, time.time()
            if shown == "silent":
                self._past.note("dead", "the process gives no sign of life")


def _why(status: LiveStatus) -> str:
    """What keeps a stream from doing all that it is to do now. `LiveStatus.error` may be of an outage long over."""
    if status.state == "running":
        return "; ".join(why for said in status.destinations.values() if (why := destination_away(said)))
    if status.state == "lost":
        return status.away or "A stage stands still, or is being replaced."
    return status.away or status.error or ""
