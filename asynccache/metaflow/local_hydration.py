"""Environments of local steps, made beside the scheduler: it launches tasks that wait for their own interpreter."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from asynccache.errors import AsyncCacheError
from asynccache.metaflow import wait_and_run
from asynccache.metaflow.loop_thread import LoopThread
from asynccache.node.environments import MARKER, environment_name, find_complete, note_use, read_marker

if TYPE_CHECKING:
    from asynccache.api import ResolvedEnvironment, Session, events
    from asynccache.config import Settings
    from asynccache.model.identity import EnvID
    from asynccache.node.environments import Triple

_END_SECONDS = 60.0
Outcome: TypeAlias = "Future[None]"
Work: TypeAlias = "tuple[ResolvedEnvironment, Path, Outcome]"


class LocalEnvironments:
    """Makes environments, each once at a time.

    Args:
        settings: All settings.
        loop: Where to work.
        say: Told what is used and made, a line each.
        emit: Where events of the engine go.
    """

    def __init__(
        self,
        settings: Settings,
        loop: LoopThread,
        say: Callable[[str], None],
        emit: events.EventSink | None = None,
    ) -> None:
        from asynccache.api.flows import environments_directory  # noqa: PLC0415 - where flows are launched

        self._settings = settings
        self._loop = loop
        self._say = say
        self._emit = emit
        self._directory = environments_directory(settings)
        self._making: dict[EnvID, Future[None]] = {}
        self._failures: tempfile.TemporaryDirectory[str] | None = None
        self._queue: asyncio.Queue[Work | None] | None = None
        self._service: Future[None] | None = None
        self._lock = threading.Lock()

    def prefix(self, env_id: EnvID) -> Path:
        """Return where an environment is or will be."""
        place = self._directory / environment_name(env_id.req_id, env_id.full_id, "step")
        return Path(find_complete(str(place), _triple(env_id)) or place)

    def complete(self, env_id: EnvID) -> bool:
        """Tell whether it is there."""
        return read_marker(str(self.prefix(env_id))) == _triple(env_id)

    def want(self, environment: ResolvedEnvironment) -> None:
        """Begin to make an environment unless it is there; one that failed before is tried again."""
        env_id = environment.id
        with self._lock:
            making = self._making.get(env_id)
            if making is not None and not (making.done() and making.exception() is not None):
                return
            outcome: Future[None] = Future()
            self._making[env_id] = outcome
            if self.complete(env_id):
                self._say(f"Using existing Conda environment {env_id.req_id} ({env_id.full_id})")
                note_use(str(self.prefix(env_id)))
                outcome.set_result(None)
                return
            self._say(f"Creating Conda environment {env_id.req_id} ({env_id.full_id})...")
            self._failure(env_id).unlink(missing_ok=True)
            if self._service is None or self._service.done():
                self._queue = asyncio.Queue()
                self._service = self._loop.start(self._serve(self._queue))
            self._loop.start(self._put(self._queue, (environment, self._failure(env_id), outcome)))

    def interpreter(self, env_id: EnvID) -> list[str]:
        """Return the command that is an environment's Python, now or as soon as it is there."""
        python = str(self.prefix(env_id) / "bin" / "python")
        if self.complete(env_id):
            return [python]
        waiting = [sys.executable, "-I", "-S", os.path.abspath(wait_and_run.__file__)]
        marker = str(self.prefix(env_id) / MARKER)
        return [*waiting, marker, str(self._failure(env_id)), str(os.getpid()), python]

    def close(self) -> None:
        """End the work and forget failures."""
        with self._lock:
            service, queue = self._service, self._queue
            self._service = self._queue = None
        if service is not None and queue is not None and not service.done():
            self._loop.start(self._put(queue, None))
            with suppress(Exception):  # what failed stands in the task's log
                service.result(_END_SECONDS)
        if self._failures is not None:
            self._failures.cleanup()
            self._failures = None

    def _failure(self, env_id: EnvID) -> Path:
        if self._failures is None:
            self._failures = tempfile.TemporaryDirectory(prefix="asynccache-run-")
        return Path(self._failures.name) / f"{env_id.req_id}_{env_id.full_id}"

    @staticmethod
    async def _put(queue: asyncio.Queue[Work | None] | None, work: Work | None) -> None:
        if queue is not None:
            await queue.put(work)

    async def _serve(self, queue: asyncio.Queue[Work | None]) -> None:
        from asynccache.api import Session  # noqa: PLC0415 - not for environments that are there
        from asynccache.api.flows import run_works  # noqa: PLC0415

        given: list[Work] = []

        async def taken() -> AsyncGenerator[Work]:
            work = await queue.get()
            while work is not None:
                given.append(work)
                yield work
                work = await queue.get()

        try:
            async with Session(self._settings, emit=self._emit) as session:
                await run_works(taken(), lambda work: self._make(session, *work))
        except BaseException as exc:
            # whatever ended it: no task may wait for what is no longer made
            while not queue.empty():
                work = queue.get_nowait()
                given += [] if work is None else [work]
            for _environment, failure, outcome in given:
                if not outcome.done():
                    self._fail(failure, outcome, exc)
            if not isinstance(exc, AsyncCacheError):
                raise

    async def _make(self, session: Session, environment: ResolvedEnvironment, failure: Path, outcome: Outcome) -> None:
        from asynccache.api import as_failure  # noqa: PLC0415 - not for environments that are there

        try:
            # under this name: its task waits for it there
            done = await session.create(environment, self.prefix(environment.id))
        except Exception as exc:  # noqa: BLE001 - whatever it is, the others are made
            await asyncio.to_thread(self._fail, failure, outcome, as_failure(exc))
            return
        for note in done.notes[:5]:
            self._say(note)
        outcome.set_result(None)

    def _fail(self, failure: Path, outcome: Outcome, error: BaseException) -> None:
        reason = "it was interrupted" if isinstance(error, asyncio.CancelledError) else str(error)
        text = f"The environment of this task could not be made: {reason}"
        with suppress(OSError):  # a run that ended has no directory for it any more
            aside = failure.with_suffix(".new")
            aside.write_text(text, "utf-8")
            aside.replace(failure)
        self._say(text)
        outcome.set_exception(error)


def _triple(env_id: EnvID) -> Triple:
    return env_id.req_id, env_id.full_id, env_id.arch
