"""The front for everybody: one session holds settings and what was opened with them, and has every verb.

    async with Session() as session:
        readiness = await session.warm("team/env:v1")
        readiness.raise_for_failures()

Store, connections and threads are opened by the first verb that needs them and closed with the session.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from asynccache.config import Settings, load_settings
from asynccache.engine import events
from asynccache.ops.opening import Opening


class Session:
    """Every verb of the product, with one set of settings.

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
        self._opening = Opening(self.settings, emit=emit, say=say)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opening.__aexit__(kind, error, trace)
