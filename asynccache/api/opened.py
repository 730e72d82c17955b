"""What all verbs of a session share: settings, and what was opened with them."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from asynccache.config import Settings, load_settings
from asynccache.engine import events
from asynccache.ops.opening import Opening


class Opened:
    """Settings, and what is opened by the first verb that needs it: store, engine, catalog.

    Args:
        settings: All settings; None to read them from the environment and the configuration files.
        writing: Whether something may be stored: a store that was named and does not exist is then created. Otherwise a
            verb that only reads reports it as not found; one that writes sets this itself.
        emit: Called with each event; None to discard events.
        say: Called with sentences that the user should see and no result contains.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        writing: bool = False,
        emit: events.EventSink | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.settings: Settings = settings or load_settings().settings
        self._emit = emit or events.ignore
        self._say = say
        self._opening = Opening(self.settings, writing=writing, emit=self._emit, say=say)

    async def __aenter__(self) -> Self:
        return self

    async def open(self, *, writing: bool = False) -> None:
        """Open store, connections and threads now; otherwise the first verb that needs them does so.

        Args:
            writing: Something may be stored: a store that was named and does not exist is then created.

        Raises:
            StoreNotFoundError: There is no store at the address.
            StoreError: The store cannot be opened.
        """
        await self._opening.engine(writing=writing)

    @property
    def store_requests(self) -> int:
        """Number of requests sent to the store so far; file operations for a local store."""
        return self._opening.store_requests

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opening.__aexit__(kind, error, trace)

    def _note(self, sentence: str) -> None:
        if self._say is not None:
            self._say(sentence)
