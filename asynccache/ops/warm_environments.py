"""Warming environments by their names: what is brought by whom, and which packs are made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from asynccache.config import Settings
from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.errors import AsyncCacheError, UsageError
from asynccache.hydrate.package_directory import DIRNAME
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.shard import Shard
from asynccache.ops.digests import publish_digests
from asynccache.ops.opening import Opening
from asynccache.ops.pack_cached import PacksMade, pack_cached, packs_wanted
from asynccache.ops.readiness import Readiness
from asynccache.ops.vouching import trusted
from asynccache.ops.warm import Target, Warm
from asynccache.store.admission import Writers, read_writers


@dataclass(frozen=True, slots=True)
class Warmed(Documented):
    """What warming did.

    Attributes:
        readiness: A row for each environment and architecture.
        packs: What packing brought.
        environments: In the order of the rows.
        store: Root of the store.
        to: Where packages were wanted.
        node: Directory of this machine's archives.
        packs_demanded: Whether a pack that cannot be made is a failure.
        writers: Who has written to the store lately; None if that cannot be read.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("store", "to", "node", "*readiness", "*packs", "writers")

    readiness: Readiness
    packs: PacksMade
    environments: tuple[ResolvedEnvironment, ...]
    store: str
    to: Target
    node: Path
    packs_demanded: bool = False
    writers: Writers | None = None

    @property
    def notes(self) -> list[str]:
        """Notes for the user, one sentence each."""
        failed = {} if self.packs_demanded else self.packs.failed
        older = self.writers.warnings if self.writers is not None else []
        return [*older, *(note for env_id in failed for note in self.packs.notes(env_id))]

    def raise_for_failures(self) -> None:
        """Raise unless everything is there.

        Raises:
            PartialFailureError: What failed, by package.
            AsyncCacheError: A pack that was demanded could not be made.
        """
        self.readiness.raise_for_failures()
        if self.packs_demanded:
            for error in self.packs.failed.values():
                raise error


async def named_environments(
    opening: Opening, environments: Iterable[ResolvedEnvironment | str], arches: Sequence[str] = ()
) -> list[tuple[str, ResolvedEnvironment]]:
    """Find environments that are to be warmed; return each with what it was asked for by (see `warm_environments`).

    Raises:
        UsageError: A text is not a name, or nothing is named.
        ObjectNotFoundError: Nothing is known under a name.
        StoreError: The store cannot be used.
    """
    found: list[tuple[str, ResolvedEnvironment]] = []
    for each in environments:
        if isinstance(each, str):
            found += [(each, await opening.find(each, arch)) for arch in arches or (None,)]
        else:
            found.append((str(each.id), each))
    if not found:
        raise UsageError(
            "there is nothing to warm", hint="name an environment with --env; `asynccache env ls` lists them"
        )
    return [(name, await trusted(opening.settings, environment)) for name, environment in found]


def packs_asked_for(settings: Settings, to: Target, pack: bool | None) -> bool:
    """Return whether warming puts packs into the store (see `warm_environments`)."""
    return to != "local" and (packs_wanted(settings) if pack is None else pack)


async def warm_environments(
    opening: Opening,
    environments: Iterable[ResolvedEnvironment | str],
    arches: Sequence[str] = (),
    *,
    to: Target = "both",
    verify: bool = True,
    pack: bool | None = None,
    shard: Shard | None = None,
    emit: events.EventSink = events.ignore,
) -> Warmed:
    """Find environments, warm and pack them.

    Args:
        opening: An engine on the store.
        environments: Which, or any names of them.
        arches: conda platforms of those that are named; none for this machine's.
        to: Where packages shall be; with `local` nothing is written into a store that the settings name.
        verify: Read what was never verified from this machine.
        pack: Put packs into the store; None: as the settings say. Of several shards the one that comes last does it.
        shard: Which of their packages are brought; None for all.
        emit: Where events go of an engine that is opened beside the one on the store.

    Raises:
        UsageError: A text is not a name, or nothing is named.
        ObjectNotFoundError: Nothing is known under a name.
        StoreError: The store cannot be used.
        DiskError: This machine's disk cannot be written.
    """
    settings = opening.settings
    found = await named_environments(opening, environments, arches)
    # opened when it is known what for: a mistyped name asks no store that need not be asked
    engine, catalog = await opening.engine(writing=True), await opening.catalog(writing=True)
    chosen = tuple(environment for _name, environment in found)
    packs = PacksMade()
    async with AsyncExitStack() as stack:
        local = None
        if to == "local" and settings.store:
            # this node alone is asked for: what the store lacks does not enter it
            local = await stack.enter_async_context(Engine(replace(settings, store=None, datastore="local"), emit=emit))
        readiness = await Warm(
            engine, catalog, to, settings.wanted_format, fetch_with=local, verify=verify, shard=shard
        ).run(found)
        packing = packs_asked_for(settings, to, pack)
        if packing and not readiness.elsewhere and all(row.ready for row in readiness.rows):
            packs = await pack_cached(engine.host, engine.sources, chosen, verify=verify)
            stored = [readiness.documents.get(each.id, each) for each in chosen]
            readiness.digests |= await publish_digests(engine.host, engine.sources, stored, packs=packs.packs)
    writers = None
    with suppress(AsyncCacheError):  # what was asked for is there
        writers = await read_writers(engine.store)
    node = settings.cache_dir / DIRNAME
    root = str(settings.root)
    return Warmed(readiness, packs, chosen, root, to, node, packs_demanded=bool(pack), writers=writers)
