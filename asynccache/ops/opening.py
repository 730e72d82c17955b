"""A store, an engine and a catalog on it, opened on first use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from asynccache.config import Settings
from asynccache.engine import events
from asynccache.model.identity import EnvID
from asynccache.model.platform import wanted_architecture
from asynccache.runtime.clock import Clock
from asynccache.runtime.late_loop import loop_begins

if TYPE_CHECKING:
    from asynccache.engine.engine import Engine
    from asynccache.model.environment import ResolvedEnvironment
    from asynccache.ops.catalog import Catalog
    from asynccache.ops.naming import Meaning
    from asynccache.store.base import Store


class Opening(AsyncExitStack):
    """What a job may need. What is not given is opened at the first use and closed when the block ends.

    Args:
        settings: All settings.
        engine: An open engine to use.
        writing: Whether something may be stored. A store that was named and does not exist is then created; it is an
            error for an operation that only reads. The default store counts as empty if it was never written.
        emit: Called with the events of an engine that is opened here.
        say: Called with a sentence when something damaged was quarantined.
        clock: Clock for what is opened here.

    Attributes:
        fetched_bytes: Bytes that came from upstream so far.
        received_bytes: Bytes of packages that came from upstream or from the store so far.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine | None = None,
        *,
        writing: bool = False,
        emit: events.EventSink = events.ignore,
        say: Callable[[str], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.clock: Clock = clock or (engine.host.clock if engine is not None else Clock())
        self._writing = writing
        self.fetched_bytes = 0
        self.received_bytes = 0
        self._engine = engine
        self._store = engine.store if engine is not None else None
        self._catalog: Catalog | None = None
        self._local: Catalog | None = None
        self._emit = emit
        self._say = say
        self._counted = False

    @cached_property
    def _lock(self) -> asyncio.Lock:
        return asyncio.Lock()  # not before there is a loop: importing asyncio takes long

    @property
    def local(self) -> Catalog:
        """What this machine knows; nothing is opened for it."""
        if self._local is None:
            from asynccache.ops.catalog import Catalog  # noqa: PLC0415 - not all verbs need it

            self._local = Catalog(self.settings, None, self._say)
        return self._local

    @property
    def store_requests(self) -> int:
        """How many requests the store was sent so far."""
        return self._store.requests if self._store is not None else 0

    async def store(self, *, writing: bool = False) -> Store:
        """Return the store alone; the engine and the catalog use the same.

        Args:
            writing: Whether something may be stored (as in the constructor).

        Raises:
            StoreNotFoundError: There is no store at the address.
            StoreError: It cannot be opened.
        """
        from asynccache.store.admission import Admission  # noqa: PLC0415 - what is known needs none
        from asynccache.store.open import open_store  # noqa: PLC0415 - as above
        from asynccache.store.options import store_options  # noqa: PLC0415 - as above

        await loop_begins()
        async with self._lock:
            if self._store is None:
                may_be_absent = writing or self._writing or not self.settings.root_is_named
                options = store_options(self.settings, self.clock)
                opened = open_store(self.settings.root, options, may_be_absent=may_be_absent)
                self._store = await self.enter_async_context(opened)
                self._store.admit(Admission(self.settings.cache_dir))
            return self._store

    async def engine(self, *, writing: bool = False) -> Engine:
        """Return the engine (see `store`).

        Raises:
            StoreError: The store cannot be opened.
        """
        from asynccache.engine.engine import Engine  # noqa: PLC0415 - what is known needs none

        store = await self.store(writing=writing)
        async with self._lock:
            if self._engine is None:
                engine = Engine(self.settings, store=store, clock=self.clock, emit=self._emit)
                self._engine = await self.enter_async_context(engine)
            if not self._counted:
                self._counted = True
                self.enter_context(self._engine.listening(self._count))
            return self._engine

    async def catalog(self, *, writing: bool = False) -> Catalog:
        """Return the catalog on the store (see `store`).

        Raises:
            StoreError: The store cannot be opened.
        """
        if self._catalog is None:
            from asynccache.ops.catalog import Catalog  # noqa: PLC0415 - as above

            self._catalog = Catalog(self.settings, await self.store(writing=writing), self._say)
        return self._catalog

    async def meaning(self, text: str, *, local_first: bool = False) -> Meaning:
        """Return what a text means (see `asynccache.ops.naming`); a store is opened only if it has to be asked.

        Raises:
            UsageError: It is not a valid name.
            ObjectNotFoundError: No environment is known under it.
            StoreError: The store cannot be opened.
        """
        from asynccache.ops.naming import meaning_of  # noqa: PLC0415 - not all jobs are given a name

        found = await self.local.known(text, local_first=local_first)
        return found or await meaning_of(await self.catalog(), text, local_first=local_first)

    async def find(self, text: str, arch: str | None = None, *, local_only: bool = False) -> ResolvedEnvironment:
        """Return the environment that a text means; a store is opened only if it has to be asked.

        Args:
            text: Any name of it.
            arch: conda platform; None for this machine's.
            local_only: Do not ask the store.

        Raises:
            UsageError: It is not a valid name, or there is no such architecture.
            ObjectNotFoundError: No environment is known under it, or none for this architecture.
            StoreError: The store cannot be opened.
        """
        wanted = wanted_architecture(arch)
        if local_only:
            return await self.local.find(text, wanted)
        known = await self.local.known(text)
        if known is not None and known.document is None and not known.digest:
            found = await self.local.lookup.by_id(EnvID(*known.ids, wanted))
            if found is not None:
                await self.local.doubt(found)
                return found
        here = known is not None and known.document is not None and not known.digest
        return await (self.local if here else await self.catalog()).find(text, wanted)

    async def prefix(self, environment: ResolvedEnvironment) -> Path:
        """Return the prefix of a helper environment, created if it does not exist (see `PrefixMaker`)."""
        from asynccache.hydrate.hydrate import prefix_for  # noqa: PLC0415 - only if something is built

        engine = await self.engine()
        return await prefix_for(engine.host, engine.sources, environment, kind="builder")

    def _count(self, event: events.Event) -> None:
        if isinstance(event, events.Fetched):
            self.received_bytes += event.bytes - event.resumed_from
            if event.source.startswith("http"):
                self.fetched_bytes += event.bytes - event.resumed_from
