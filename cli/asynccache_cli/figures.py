"""What a command writes for other programs: a receipt as JSON, and figures for Prometheus' node exporter.

The names of the figures are an interface (docs/operating.md): new ones may be added, and none changes its meaning.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict

import click

from asynccache import __version__
from asynccache.api import Progress, Report, events
from asynccache.errors import AsyncCacheError, DiskError
from asynccache_cli import watching
from asynccache_cli.files import write_whole
from asynccache_cli.json_line import json_line

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_COUNTED: Final = {
    "cache_hits": "Packages that were complete before.",
    "retries": "Requests that were made again.",
    "damaged": "Stored objects that were found damaged.",
    "mended": "Damaged objects that were replaced.",
    "adopted": "Objects that another writer had published meanwhile.",
    "uploaded_bytes": "Bytes that became objects of the store.",
}


class CommandReceipt(TypedDict):
    """What a command did, independent of what it prints.

    Attributes:
        command: Its path, such as `asynccache env import`.
        version: Of asynccache.
        began: ISO 8601, UTC.
        ended: Likewise.
        seconds: Total time.
        cpu_seconds: Of this process and its children.
        peak_memory_bytes: The largest resident size of the process.
        exit_code: How it ended.
        result: The result that `--json` shows, without its type and schema; None if there is none.
    """

    command: str
    version: str
    began: str
    ended: str
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int
    exit_code: int
    result: Mapping[str, Any] | None


class Figures:
    """Adds up what a command does.

    Args:
        command: Its path, such as `asynccache cache`.

    Attributes:
        receipt: Where its receipt is written; None to write none.
        metrics: Where its figures are written; None to write none.
    """

    def __init__(self, command: str) -> None:
        self.receipt: Path | None = None
        self.metrics: Path | None = None
        self._result: Any = None
        self._command = command
        self._report = Report()
        self._progress = Progress()
        self._began = datetime.now(UTC)

    def take(self, event: events.Event) -> None:
        """Count an event."""
        self._report.take(event)
        self._progress.take(event)

    def take_result(self, result: object) -> None:
        """Take the result that the command shows."""
        self._result = result

    def end(self, exit_code: int, failure: AsyncCacheError | None) -> None:
        """Write the files that were asked for, each whole or not at all.

        Args:
            exit_code: Of the command.
            failure: Why it failed; None if it did not, or its arguments were invalid.

        Raises:
            DiskError: A file cannot be written.
        """
        self._report.finish({})
        failed: DiskError | None = None
        if self.receipt is not None:
            try:
                write_whole(self.receipt, (self._line(exit_code, failure) + "\n").encode())
            except DiskError as error:
                failed, exit_code = error, exit_code or error.exit_code
        if self.metrics is not None:
            from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - few ask for it

            registry = CollectorRegistry()
            self._fill(registry, exit_code)
            write_whole(self.metrics, generate_latest(registry))
        if failed is not None:
            raise failed

    def _line(self, exit_code: int, failure: AsyncCacheError | None) -> str:
        result = self._result
        said = CommandReceipt(
            command=self._command,
            version=__version__,
            began=self._began.isoformat(),
            ended=datetime.now(UTC).isoformat(),
            seconds=round(self._report.seconds, 3),
            cpu_seconds=round(self._report.cpu_seconds, 3),
            peak_memory_bytes=self._report.peak_memory_bytes,
            exit_code=exit_code,
            result=result.as_document() if hasattr(result, "as_document") else None,
        )
        return json_line("receipt", {**said, **({} if failure is None else failure.as_document())})

    def _fill(self, registry: CollectorRegistry, exit_code: int) -> None:
        from prometheus_client import Gauge  # noqa: PLC0415 - as above

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"asynccache_{name}", text, ("command", *labels), registry=registry)

        command, report = self._command.removeprefix("asynccache "), self._report
        gauge("run_success", "Whether the command ended with exit code 0.").labels(command).set(exit_code == 0)
        gauge("run_exit_code", "How the command ended.").labels(command).set(exit_code)
        gauge("run_seconds", "How long the command took.").labels(command).set(report.seconds)
        gauge("run_cpu_seconds", "What it used of the processors.").labels(command).set(report.cpu_seconds)
        gauge("run_peak_memory_bytes", "The most memory it had.").labels(command).set(report.peak_memory_bytes)
        gauge("run_end_timestamp_seconds", "When the command ended.").labels(command).set(time.time())
        packages = gauge("packages", "Packages that are complete, and those that are not.", "outcome")
        packages.labels(command, "complete").set(self._progress.done)
        packages.labels(command, "failed").set(self._progress.failed)
        for name, text in _COUNTED.items():
            count = getattr(report, name if name != "cache_hits" else "hits")
            gauge(name, text).labels(command).set(len(count) if isinstance(count, list) else count)
        moved = gauge("phase_bytes", "Bytes that a phase moved.", "phase")
        busy = gauge("phase_busy_seconds", "Time in a phase, of all packages added up.", "phase")
        span = gauge("phase_seconds", "Time during which at least one package was in a phase.", "phase")
        for phase, totals in report.phases.items():
            moved.labels(command, phase).set(totals.bytes)
            busy.labels(command, phase).set(totals.busy_seconds)
            span.labels(command, phase).set(totals.span_seconds)
        audit = getattr(self._result, "audit", self._result)  # of all shards, if they are added up
        findings = getattr(audit, "found", None)
        if isinstance(findings, dict):
            found = gauge("audit_findings", "What an audit found and did not mend.", "kind")
            for kind, count in findings.items():
                found.labels(command, kind).set(count - audit.mended[kind])


def wanted(ctx: click.Context, parameter: click.Parameter, value: str) -> None:
    """Record where figures of this command are written: the callback of its options."""
    figures = ctx.meta.get(__name__)
    if figures is None:
        figures = ctx.meta[__name__] = Figures(ctx.command_path)
        watching.add(figures)
    if parameter.name == "receipt":
        figures.receipt = Path(value)
    else:
        figures.metrics = Path(value)
