"""What this machine gives to a piece of work: settings, time, threads, budgets, a working directory, a listener."""

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
    """What work is done with, whatever it is about; an engine lends its own (`Engine.host`).

    Attributes:
        settings: All settings.
        clock: Time to measure with and to wait on.
        threads: Where CPU work and file operations run.
        budgets: What is shared by all that runs at once.
        workspace: This node's working directory and its locks.
        emit: Where events go.
    """

    settings: Settings
    clock: Clock
    threads: Threads
    budgets: Budgets
    workspace: Workspace
    emit: events.EventSink

    def limits(self) -> Limits:
        """Return what an archive may ask of this machine."""
        from asynccache.archive.limits import Limits  # noqa: PLC0415 - a run on a full cache needs no codec

        return Limits.of(self.settings)

    @contextmanager
    def phase(self, phase: events.Phase, name: str, size: int | None) -> Iterator[None]:
        """Tell when a phase of a package begins and ends; `size` is the expected work in bytes, None if unknown."""
        self.emit(events.PhaseStarted(phase, name, size))
        started = self.clock.now()
        try:
            yield
        finally:
            self.emit(events.PhaseEnded(phase, name, self.clock.now() - started))
