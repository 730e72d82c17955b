"""Environments of local steps, made beside the scheduler: it launches tasks that wait for their own interpreter."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from asynccache.metaflow import wait_and_run
from asynccache.metaflow.loop_thread import LoopThread
from asynccache.metaflow.progress import Progress
from asynccache.metaflow.wording import in_metaflows_words
from asynccache.node.environments import MARKER, environment_name, find_complete, note_use, read_marker

if TYPE_CHECKING:
    from asynccache.api import ResolvedEnvironment, Session
    from asynccache.config import Settings
    from asynccache.model.identity import EnvID
    from asynccache.node.environments import Triple


class LocalEnvironments:
    """Makes environments, each once at a time.

    Args:
        settings: All settings.
        loop: Where to work.
        say: Called with what is used and made, a line each.
    """

    def __init__(self, settings: Settings, loop: LoopThread, say: Callable[[str], None]) -> None:
        from asynccache.api.flows import environments_directory  # noqa: PLC0415 - where flows are launched

        self._settings = settings
        self._loop = loop
        self._say = say
        self._directory = environments_directory(settings)
        self._making: dict[EnvID, Future[None]] = {}
        self._others: dict[EnvID, Path | None] = {}
        self._failures: tempfile.TemporaryDirectory[str] | None = None
        self._session: Session | None = None
        self._lock = threading.Lock()
        self._progress = Progress(say, "Creating environments")

    def prefix(self, env_id: EnvID) -> Path:
        """Return where an environment is or will be."""
        place = self._directory / environment_name(env_id.req_id, env_id.full_id, "step")
        found = find_complete(str(place), _triple(env_id))
        return Path(found) if found else self._other(env_id) or place

    def _other(self, env_id: EnvID) -> Path | None:
        """Return where another program had the environment when it was first asked for."""
        from asynccache.api.flows import other_prefix  # noqa: PLC0415 - where flows are launched

        if env_id not in self._others:
            self._others[env_id] = other_prefix(self._settings, env_id)
        return self._others[env_id]

    def complete(self, env_id: EnvID) -> bool:
        """Return whether it is there."""
        return read_marker(str(self.prefix(env_id))) == _triple(env_id)

    def want(self, environment: ResolvedEnvironment) -> None:
        """Begin to make an environment unless it is there; one that failed before is retried."""
        env_id = environment.id
        with self._lock:
            if env_id in self._making and not _failed(self._making[env_id]):
                return
            if self.complete(env_id):
                self._say(f"Using existing Conda environment {env_id.req_id} ({env_id.full_id})")
                if self._others.get(env_id) is None:
                    note_use(str(self.prefix(env_id)))
                self._making[env_id] = Future()
                self._making[env_id].set_result(None)
                return
            self._say(f"Creating Conda environment {env_id.req_id} ({env_id.full_id})...")
            failure = self._failure(env_id)
            failure.unlink(missing_ok=True)
            self._making[env_id] = self._loop.start(self._make(environment, failure))

    def interpreter(self, env_id: EnvID) -> list[str]:
        """Return the command that is an environment's Python, now or as soon as it is there."""
        python = str(self.prefix(env_id) / "bin" / "python")
        if self.complete(env_id):
            return [python]
        waiting = [sys.executable, "-I", "-S", os.path.abspath(wait_and_run.__file__)]
        marker = str(self.prefix(env_id) / MARKER)
        return [*waiting, marker, str(self._failure(env_id)), str(os.getpid()), python]

    def close(self, *, interrupted: bool = False) -> None:
        """End the work, which no task waits for any more, and forget failures."""
        with self._lock:
            making, self._making = [*self._making.values()], {}
            session, self._session = self._session, None
        for each in making:
            each.cancel()
        if session is not None and not interrupted:
            with suppress(Exception):  # the failure is in the task's log
                self._loop.call(session.__aexit__(None, None, None))
        if self._failures is not None:
            self._failures.cleanup()
            self._failures = None

    def _failure(self, env_id: EnvID) -> Path:
        if self._failures is None:
            self._failures = tempfile.TemporaryDirectory(prefix="asynccache-run-")
        return Path(self._failures.name) / f"{env_id.req_id}_{env_id.full_id}"

    async def _make(self, environment: ResolvedEnvironment, failure: Path) -> None:
        from asynccache.api import Session, as_failure  # noqa: PLC0415 - not for environments that are there

        if self._session is None:
            self._session = Session(self._settings, emit=self._progress.take)
        try:
            with self._progress.making():
                # under this name: its task waits for it there
                done = await self._session.create(environment, self.prefix(environment.id))
        except asyncio.CancelledError:
            _note(failure, "it was interrupted")
            raise
        except Exception as exc:
            self._say(_note(failure, in_metaflows_words(str(as_failure(exc)))))
            raise
        for note in done.notes[:5]:
            self._say(note)


def _note(failure: Path, reason: str) -> str:
    """Record for waiting tasks why an environment is missing; return it."""
    text = f"The environment of this task could not be made: {reason}"
    with suppress(OSError):  # a run that ended has no directory for it any more
        temporary = failure.with_suffix(".new")
        temporary.write_text(text, "utf-8")
        temporary.replace(failure)
    return text


def _failed(making: Future[None]) -> bool:
    return making.cancelled() or (making.done() and making.exception() is not None)


def _triple(env_id: EnvID) -> Triple:
    return env_id.req_id, env_id.full_id, env_id.arch
