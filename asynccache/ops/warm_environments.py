"""Warming environments by their names: what is brought by whom, and which packs are made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.errors import UsageError
from asynccache.hydrate.package_directory import DIRNAME
from asynccache.model.dataclass import dataclass
from asynccache.model.document import document, plain
from asynccache.model.environment import ResolvedEnvironment
from asynccache.ops.opening import Opening
from asynccache.ops.pack_cached import PacksMade, pack_cached, packs_wanted
from asynccache.ops.warm import Readiness, Target, Warm


@dataclass(frozen=True, slots=True)
class Warmed:
    """What warming did.

    Attributes:
        readiness: A row for each environment and architecture.
        packs: What packing brought.
        environments: In the order of the rows.
        store: Root of the store.
        to: Where packages were wanted.
        node: Directory of this machine's archives.
        packs_demanded: Whether a pack that cannot be made is a failure.
    """

    readiness: Readiness
    packs: PacksMade
    environments: tuple[ResolvedEnvironment, ...]
    store: str
    to: Target
    node: Path
    packs_demanded: bool = False

    @property
    def notes(self) -> list[str]:
        """What the user should know, a sentence each."""
        failed = {} if self.packs_demanded else self.packs.failed
        return [note for env_id in failed for note in self.packs.notes(env_id)]

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

    def as_document(self) -> dict[str, object]:
        """Return it as plain values."""
        place = document(self, "store", "to", "node")
        return {**place, **self.readiness.as_document(), "packs": plain(self.packs.packs)}


async def warm_environments(
    opening: Opening,
    environments: Iterable[ResolvedEnvironment | str],
    arches: Sequence[str] = (),
    *,
    to: Target = "both",
    verify: bool = True,
    pack: bool | None = None,
    emit: events.EventSink = events.ignore,
) -> Warmed:
    """Find environments, warm and pack them.

    Args:
        opening: An engine on the store.
        environments: Which, or any names of them.
        arches: conda platforms of those that are named; none for this machine's.
        to: Where packages shall be; with `local` nothing is written into a store that the settings name.
        verify: Read what was never verified from this machine.
        pack: Put packs into the store; None: as the settings say.
        emit: Where events go of an engine that is opened beside the one on the store.

    Raises:
        UsageError: A text is no name, or nothing is named.
        ObjectNotFoundError: Nothing is known under a name.
        StoreError: The store cannot be used.
        DiskError: This machine's disk cannot be written.
    """
    settings = opening.settings
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
    # opened when it is known what for: a mistyped name asks no store that need not be asked
    engine, catalog = await opening.engine(writing=True), await opening.catalog(writing=True)
    chosen = tuple(environment for _name, environment in found)
    packs = PacksMade()
    async with AsyncExitStack() as stack:
        aside = None
        if to == "local" and settings.store:
            # this node alone is asked for: what the store lacks does not enter it
            aside = await stack.enter_async_context(Engine(replace(settings, store=None, datastore="local"), emit=emit))
        readiness = await Warm(
            engine, catalog, to=to, wanted=settings.wanted_format, fetch_with=aside, verify=verify
        ).run(found)
        packing = to != "local" and (packs_wanted(settings) if pack is None else pack)
        if packing and all(row.ready for row in readiness.rows):
            packs = await pack_cached(engine, chosen, verify=verify)
    node = settings.cache_dir / DIRNAME
    return Warmed(readiness, packs, chosen, str(settings.root), to, node, packs_demanded=bool(pack))
