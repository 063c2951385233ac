"""OpenTelemetry spans, where they are asked for: the life of each stream's process, reloads, and requests that change.

Without `tracing:` in the configuration nothing is imported and nothing is recorded. With it, the extra `otel` must be
installed: what was asked for by name and can't be had is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from pipeline.errors import DerainError
from pipeline.service.config import Tracing


class Span(Protocol):
    """What is done with a span here; OpenTelemetry's own have it."""

    def set_attribute(self, key: str, value: str | int | float | bool) -> object: ...


class _NoSpan:
    def set_attribute(self, key: str, value: str | int | float | bool) -> None:
        pass


def need_opentelemetry() -> None:
    """DerainError where it is not installed."""
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace.export  # noqa: F401
    except ModuleNotFoundError as error:
        raise DerainError(
            f"tracing needs the otel extra ({error.name} is not installed): pip install 'derain[otel]'"
        ) from error


class Tracer:
    """Records spans, or nothing."""

    def __init__(self, config: Tracing | None = None) -> None:
        """
        Raises:
            DerainError: Spans are asked for and OpenTelemetry is not installed.
        """
        self._provider: Any = None
        if config is None:
            return
        need_opentelemetry()
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._provider = TracerProvider(resource=Resource.create({"service.name": config.service_name}))
        exporter = OTLPSpanExporter(endpoint=config.endpoint.rstrip("/") + "/v1/traces", timeout=5)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("derain.serve")

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, str | int]) -> Iterator[Span]:
        """A span around what is done inside."""
        if self._provider is None:
            yield _NoSpan()
            return
        with self._tracer.start_as_current_span(name, attributes=dict(attributes)) as span:
            yield span

    def close(self) -> None:
        """Send what is still to be sent."""
        if self._provider is not None:
            self._provider.shutdown()
