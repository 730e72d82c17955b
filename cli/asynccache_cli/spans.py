"""Spans of a command for OpenTelemetry, as its own variables say: one for the command, one for a package and phase.

Nothing of this is loaded unless `OTEL_EXPORTER_OTLP_ENDPOINT` (or the one for traces) is set; it needs the extra
`otel`.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from asynccache import __version__
from asynccache.api import events
from asynccache.errors import AsyncCacheError, ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_FLUSH_MILLISECONDS: Final = 5_000


class Spans:
    """Turns events into spans.

    Args:
        command: Path of the command, such as `asynccache cache`: the name of the outermost span.
        provider: Where spans go.
    """

    def __init__(self, command: str, provider: TracerProvider) -> None:
        from opentelemetry import trace  # noqa: PLC0415 - an extra

        self._trace = trace
        self._provider = provider
        self._tracer = self._provider.get_tracer("asynccache", __version__)
        self._root = self._tracer.start_span(command)
        self._inside = trace.set_span_in_context(self._root)
        self._open: dict[tuple[str, str], tuple[Span, list[int]]] = {}

    @classmethod
    def of(cls, command: str) -> Spans:
        """Return the spans of a command, exported as the variables of OpenTelemetry say.

        Raises:
            ConfigurationError: The extra `otel` is not installed.
        """
        try:
            return cls(command, _provider())
        except ImportError as exc:
            raise ConfigurationError(
                "OTEL_EXPORTER_OTLP_ENDPOINT is set, and nothing here can send spans",
                hint="install asynccache[otel], or set OTEL_SDK_DISABLED=true",
            ) from exc

    def take(self, event: events.Event) -> None:
        """Begin or end a span."""
        match event:
            case events.PhaseStarted(phase=phase, package=package):
                attributes = {"asynccache.package": package, "asynccache.phase": phase}
                span = self._tracer.start_span(phase, self._inside, attributes=attributes)
                self._open[phase, package] = (span, [0])
            case events.BytesMoved(phase=phase, package=package, bytes=count) if (phase, package) in self._open:
                self._open[phase, package][1][0] += count
            case events.PhaseEnded(phase=phase, package=package) if (phase, package) in self._open:
                span, moved = self._open.pop((phase, package))
                span.set_attribute("asynccache.bytes", moved[0])
                span.end()
            case events.PackageFailed(package=package, error=error):
                self._root.add_event("package failed", {"asynccache.package": package, "asynccache.error": error})

    def take_result(self, result: object) -> None:
        """Take what the command shows in the end: no span has it."""

    def end(self, exit_code: int, failure: AsyncCacheError | None) -> None:
        """End all spans, and wait a few seconds until they are sent."""
        for span, _moved in self._open.values():
            span.end()
        self._root.set_attribute("asynccache.exit_code", exit_code)
        if exit_code:
            self._root.set_status(self._trace.StatusCode.ERROR, None if failure is None else str(failure))
        self._root.end()
        self._provider.force_flush(_FLUSH_MILLISECONDS)
        self._provider.shutdown()


def _provider() -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    logging.getLogger("opentelemetry").setLevel(
        logging.CRITICAL
    )  # a receiver that is gone is not a failure of the command
    named = os.environ.get("OTEL_SERVICE_NAME")
    provider = TracerProvider(resource=Resource.create({} if named else {"service.name": "asynccache"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=_FLUSH_MILLISECONDS // 1000)))
    return provider
