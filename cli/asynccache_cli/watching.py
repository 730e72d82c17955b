"""What else follows a command besides the display: receipts, figures, spans."""

from __future__ import annotations

import os

from asynccache.errors import DiskError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from asynccache.api import events
    from asynccache.errors import AsyncCacheError

    class Watcher(Protocol):
        """Follows a command."""

        def take(self, event: events.Event) -> None:
            """Take an event of the engine."""

        def take_result(self, result: object) -> None:
            """Take the result that the command shows."""

        def end(self, exit_code: int, failure: AsyncCacheError | None) -> None:
            """Take how the command ended."""


_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_watchers: list[Watcher] = []


def add(watcher: Watcher) -> None:
    """Add a watcher of this command."""
    _watchers.append(watcher)


def begin(command: str) -> list[Watcher]:
    """Return the watchers, one for spans among them if the variables of OpenTelemetry ask for it.

    Args:
        command: Its path, such as `asynccache cache`.

    Raises:
        ConfigurationError: Spans are wanted, and the extra for them is not installed.
    """
    if any(os.environ.get(name) for name in _ENDPOINTS) and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true":
        from asynccache_cli.spans import Spans  # noqa: PLC0415 - few have it

        _watchers.append(Spans.of(command))
    return _watchers


def end(exit_code: int, failure: AsyncCacheError | None) -> None:
    """Report to every watcher how the command ended, even if another one fails to write.

    Raises:
        DiskError: A file that was asked for cannot be written; the first of them.
    """
    failed: AsyncCacheError | None = None
    while _watchers:
        try:
            _watchers.pop(0).end(
                exit_code, failure
            )  # files first: the other watchers learn of a file that cannot be written
        except DiskError as error:
            failed = failed or error
            exit_code, failure = exit_code or error.exit_code, failure or error
    if failed is not None:
        raise failed
