"""What all verbs of a session share: settings, and what was opened with them."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from asynccache.config import Settings, load_settings
from asynccache.engine import events
from asynccache.ops.opening import Opening


class Opened:
    """Settings, and what the first verb that needs it opens: store, engine, catalog.

    Args:
        settings: All settings; None: as the environment and the configuration files say.
        emit: Where events go.
        say: Told in a sentence what the user should know and no result holds.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        emit: events.EventSink = events.ignore,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.settings = settings or load_settings().settings
        self._emit = emit
        self._say = say
        self._opening = Opening(self.settings, emit=emit, say=say)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opening.__aexit__(kind, error, trace)
