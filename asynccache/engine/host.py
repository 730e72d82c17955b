"""What operations are given: settings, clock, threads, budgets, a working directory, an event listener."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from asynccache.config import Settings
from asynccache.engine import events
from asynccache.engine.workspace import Workspace
from asynccache.model.dataclass import dataclass
from asynccache.runtime.budget import Budgets
from asynccache.runtime.clock import Clock
from asynccache.runtime.threads import Threads

if TYPE_CHECKING:
    from asynccache.archive import Limits


@dataclass(frozen=True, slots=True)
class Host:
    """What any operation works with; an engine lends its own (`Engine.host`).

    Attributes:
        settings: All settings.
        clock: Clock for measuring and waiting.
        threads: Threads for CPU work and file operations.
        budgets: Limits shared by concurrent work.
        workspace: This node's working directory and its locks.
        emit: Called with each event.
    """

    settings: Settings
    clock: Clock
    threads: Threads
    budgets: Budgets
    workspace: Workspace
    emit: events.EventSink

    def limits(self) -> Limits:
        """Return the limits for archives on this machine."""
        from asynccache.archive.limits import Limits  # noqa: PLC0415 - a run on a full cache needs no codec

        return Limits.of(self.settings)

    @contextmanager
    def phase(self, phase: events.Phase, name: str, size: int | None) -> Iterator[None]:
        """Report the beginning and the end of a package's phase; `size` is the expected work in bytes, None if
        unknown.
        """
        self.emit(events.PhaseStarted(phase, name, size))
        started = self.clock.now()
        try:
            yield
        finally:
            self.emit(events.PhaseEnded(phase, name, self.clock.now() - started))
