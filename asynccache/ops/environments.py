"""Everything that is known of environments, opened together: this machine's manifest, the store's documents and names.

async with open_store(...) as store:
    catalog = Environments(settings, store)
    environment = await catalog.find("team/env:v1", "linux-64")
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asynccache.catalog.aliases import Aliases, Move
from asynccache.catalog.documents import EnvironmentDocuments
from asynccache.catalog.index import CatalogIndex
from asynccache.catalog.indexed import IndexedManifest
from asynccache.catalog.keys import CatalogKeys
from asynccache.catalog.local import LocalManifest, Manifest
from asynccache.catalog.lookup import Lookup, RemotePolicy
from asynccache.catalog.place import datastore_directory, index_path, manifest_path
from asynccache.catalog.runs import Runs
from asynccache.config import Settings
from asynccache.errors import AsyncCacheError, ObjectNotFoundError, PartialFailureError, StoreError, UsageError
from asynccache.model.alias import Alias
from asynccache.model.dataclass import dataclass
from asynccache.model.document import document
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.model.platform import ARCHITECTURES
from asynccache.node.disk import input_error
from asynccache.ops.naming import Ids, Meaning, meaning_of
from asynccache.runtime.tasks import run_together
from asynccache.store.base import Store

if TYPE_CHECKING:
    from asynccache.catalog.listing import Listed, StoreCatalog
    from asynccache.ops.environment_packages import Need


@dataclass(frozen=True, slots=True)
class Aliased:
    """What giving names to an environment did.

    Attributes:
        ids: (req_id, full_id) of the environment.
        changed: Names that mean it since now.
        unchanged: Names that meant it already.
        failed: Names that could not be given, and why.
    """

    ids: tuple[str, str]
    changed: tuple[Alias, ...]
    unchanged: tuple[Alias, ...]
    failed: dict[str, AsyncCacheError]

    def raise_for_failures(self) -> None:
        """Raise when a name could not be given.

        Raises:
            AsyncCacheError: The failure, when it is the only one.
            PartialFailureError: Why, by name.
        """
        if len(self.failed) == 1:
            raise next(iter(self.failed.values()))
        if self.failed:
            asked = len(self.failed) + len(self.changed) + len(self.unchanged)
            raise PartialFailureError(f"{len(self.failed)} of {asked} names were not given", self.failed)

    def as_document(self) -> dict[str, object]:
        """Return what was done as plain values."""
        req_id, full_id = self.ids
        return {"req_id": req_id, "full_id": full_id, **document(self, "changed", "unchanged", "failed")}


class Environments:
    """The catalog.

    Args:
        settings: All settings.
        store: An open store; None to know only what this machine knows.
        say: Told in a sentence when something damaged was set aside.
    """

    def __init__(self, settings: Settings, store: Store | None, say: Callable[[str], None] | None = None) -> None:
        self.settings = settings
        self.store = store
        self.keys = CatalogKeys(settings.envs_dirname)
        path = manifest_path(settings)
        self.manifest = LocalManifest(path, settings.lock_timeout, say)
        self.here = IndexedManifest(path, CatalogIndex(index_path(settings, str(path))))
        self.runs = Runs(datastore_directory(settings))
        self.policy = RemotePolicy.parse(settings.use_remote_latest, settings.username)
        self.documents = self.aliases = None
        self.there: StoreCatalog | None = None
        if store is not None:
            from asynccache.catalog.listing import StoreCatalog  # noqa: PLC0415 - what is known here does without

            self.documents = EnvironmentDocuments(store, self.keys)
            self.aliases = Aliases(store, self.keys, settings.username)
            index = CatalogIndex(index_path(settings, f"{store.root.identity} {self.keys.dirname}"))
            self.there = StoreCatalog(store, self.keys, index)
        self.lookup = Lookup(self.here, self.documents, self.aliases, self.policy, self.runs.ids)

    async def listed(self, arch: str | None = None, *, local: bool = True, remote: bool = True) -> Sequence[Listed]:
        """Return what is known, the latest resolution first.

        Raises:
            IntegrityError: The local manifest is damaged.
            StoreError: The store cannot be listed.
        """
        from asynccache.catalog.listing import list_environments  # noqa: PLC0415 - looking up does without

        return await list_environments(self.here if local else None, self.there if remote else None, arch)

    async def known(self, text: str, *, here_first: bool = False) -> Meaning | None:
        """Return what a text means if no store has to be asked for it; None where one has to be."""
        try:
            found = await meaning_of(self, text, here_first=here_first)
        except (UsageError, ObjectNotFoundError):
            return None
        return None if found.alias is not None and found.alias.mutable else found

    async def find(self, text: str, arch: str) -> ResolvedEnvironment:
        """Return the environment that a text means (see `asynccache.ops.naming`).

        Raises:
            UsageError: It is no name, or the file no document.
            ObjectNotFoundError: Nothing is known under it, or not for this architecture; says for which.
        """
        meaning = await meaning_of(self, text, arch)
        environment = meaning.document or await self.lookup.by_id(EnvID(*meaning.ids, arch))
        if environment is not None:
            return environment
        others = [e.id.arch for e in await self._of(meaning.ids) if e.id.arch != arch]
        raise ObjectNotFoundError(
            f"{meaning} is not available for {arch}",
            expected=f"--arch {' or '.join(others)}" if others else None,
            hint=None if others else "no document of it is known for any architecture: resolve or import it again",
        )

    async def get(self, text: str, arch: str, *, default: bool = True) -> list[ResolvedEnvironment]:
        """Take an environment, and those resolved together with it, into the local manifest; return them.

        Raises:
            UsageError: See `find`.
            ObjectNotFoundError: See `find`.
            DiskError: The manifest cannot be written.
        """
        environment = await self.find(text, arch)
        together = [environment]
        for other in environment.resolved_archs:
            if other != environment.id.arch:
                found = await self.lookup.by_id(EnvID(environment.id.req_id, environment.id.full_id, other))
                together += [] if found is None else [found]
        meaning = await meaning_of(self, text)
        name = meaning.alias
        named = {name: meaning.ids} if name is not None and name.kind == "generic" else None
        await self.keep(together, named, default=default)
        return together

    async def keep(
        self,
        environments: Iterable[ResolvedEnvironment] = (),
        names: Mapping[Alias, Ids] | None = None,
        *,
        default: bool = False,
    ) -> None:
        """Enter environments, and names with the (req_id, full_id) that they mean, into the local manifest.

        Raises:
            DiskError: It cannot be written.
            LockTimeoutError: Another program holds it.
        """
        kept, named = list(environments), dict(names or {})

        def change(manifest: Manifest) -> None:
            for environment in kept:
                manifest.add(environment, default=default)
            for name, ids in named.items():
                manifest.assign(name, ids)

        await asyncio.to_thread(self.manifest.update, change)

    async def alias(self, text: str, names: Sequence[str]) -> Aliased:
        """Give names to an environment whose document is in the store; one known only here is published first.

        Raises:
            UsageError: A text is no name.
            ObjectNotFoundError: There is no such environment: no name is given to nothing.
            StoreError: The store has not all of its packages, or cannot be written.
        """
        wanted = [checked_name(name) for name in names]
        if self.aliases is None or self.documents is None:
            raise UsageError("names live in the store, and none is open")
        meaning = await meaning_of(self, text)
        ids = meaning.ids
        environments = [meaning.document] if meaning.document is not None else await self._of(ids)
        if not environments:
            raise ObjectNotFoundError(
                f"{meaning.alias or meaning.prefix} stands for {':'.join(ids)}, of which no document is known",
                hint="a name is only given to an environment that is there; `asynccache env ls` lists them",
            )
        for environment in environments:
            if await self.documents.get(environment.id) is None:
                await self.publish(environment)
        changed, unchanged, failed = list[Alias](), list[Alias](), dict[str, AsyncCacheError]()
        for name in wanted:
            try:
                (changed if await self.aliases.assign(name, ids) else unchanged).append(name)
            except AsyncCacheError as exc:
                failed[str(name)] = exc
        if changed or unchanged:
            await self.keep(names=dict.fromkeys([*changed, *unchanged], ids))
        return Aliased(ids, tuple(changed), tuple(unchanged), failed)

    async def names_of(self, ids: tuple[str, str]) -> list[Alias]:
        """Return what an environment is called, here and in the store, in order.

        Raises:
            StoreError: The store cannot be listed.
        """
        names = {name for name, known in self.here.names() if known == ids}
        if self.there is not None:
            names |= {name for name, known in await self.there.names() if known == ids}
        return sorted(names, key=str)

    async def history(self, name: str, *, repair: bool = False) -> list[Move]:
        """Return every move of a mutable name in the store, the first one first.

        Args:
            name: One whose tag moves.
            repair: Chain what is left of a broken history again before.

        Raises:
            UsageError: It is no name, or immutable.
            ObjectNotFoundError: It is not known (says near names), or to this machine only.
            IntegrityError: The history was changed.
        """
        alias = checked_name(name)
        if not alias.mutable:
            _, ids = await self.lookup.named(name)
            raise UsageError(
                f"{alias} is immutable: it stands for {ids[0]}:{ids[1]} and never moved",
                expected="latest, candidate, stable",
            )
        moves: list[Move] = []
        if self.aliases is not None:
            moves = await (self.aliases.repair(alias) if repair else self.aliases.history(alias))
        if not moves:
            await self.lookup.named(name)
            raise ObjectNotFoundError(f"{alias} has no history in the store", hint="it is known to this machine only")
        return moves

    async def rollback(self, name: str, to: int | None) -> tuple[tuple[str, str], tuple[str, str] | None]:
        """Move a mutable name back; return what it stands for now and stood for before.

        Raises:
            UsageError: It is immutable, or has no such move.
            ObjectNotFoundError: It is not known (says near names), or to this machine only.
        """
        alias = checked_name(name)
        if self.aliases is None:
            raise UsageError("names live in the store, and none is open")
        before = await self.aliases.get(alias)
        if before is None:
            await self.history(name)
        now = await self.aliases.rollback(alias, to=to)
        await self.keep(names={alias: now})
        return now, before

    async def publish(
        self, environment: ResolvedEnvironment, needs: Sequence[Need] | None = None
    ) -> ResolvedEnvironment:
        """Write a document and its name by full id, if the store has every package that it names.

        Args:
            environment: Which.
            needs: What the store has of its packages, in their order; looked up when None.

        Returns:
            What the store holds now: the document that was written first.

        Raises:
            StoreError: Packages are missing; names them.
        """
        from asynccache.ops.environment_packages import needs_of, with_stored_keys  # noqa: PLC0415 - looking up does without

        if self.documents is None or self.store is None:
            raise UsageError("documents live in the store, and none is open")
        if needs is None:
            looked_up = await needs_of(self.store, self.settings.packages_dirname, [environment])
            needs = looked_up.by_environment[environment.id]
        missing = [need for need in needs if not need.complete]
        if missing:
            raise StoreError(
                f"{environment.id} is not published: the store lacks {len(missing)} of its {len(needs)} packages",
                found=", ".join(need.name for need in missing[:3]) + (", ..." if len(missing) > 3 else ""),
                hint=f"`asynccache warm --env {environment.id} --arch {environment.id.arch}` brings and publishes it",
            )
        return await self.documents.put(with_stored_keys(environment, needs))

    async def _of(self, ids: tuple[str, str]) -> list[ResolvedEnvironment]:
        """Return the documents of all architectures that can be found."""
        found = await run_together([self.lookup.by_id(EnvID(*ids, arch)) for arch in ARCHITECTURES])
        return [environment for environment in found if environment is not None]


def read_document(path: Path, arch: str | None) -> ResolvedEnvironment:
    """Read an environment's document from a file. Blocking.

    Args:
        path: The file.
        arch: Architecture that it must be for; None for whatever it is for.

    Raises:
        ObjectNotFoundError: There is no such file.
        UsageError: It cannot be read, is no document, or is for another architecture.
    """
    from asynccache.resolve.formats import document  # noqa: PLC0415 - looking up does without
    from asynccache.resolve.place import Place  # noqa: PLC0415

    try:
        data = path.read_bytes()
    except OSError as exc:
        raise input_error(path, exc) from exc
    return document.read_document(data, Place(str(path)), arch)


def doubts(environment: ResolvedEnvironment) -> list[str]:
    """Return what does not fit together in a document, a sentence each.

    An id in a key is given and counts (contract, section 1.4); where the content amounts to another one, the document
    was probably changed. Environments that were resolved together or from a lock file cannot be computed again alone.
    """
    found = []
    env_id, request = environment.id, environment.request
    if request.req_id != env_id.req_id:
        found.append(f"its requirements amount to req_id {request.req_id}, not {env_id.req_id}")
    alone = len(environment.resolved_archs) < 2 and not environment.unique_keys
    if alone and all(p.published_hash for p in environment.packages):
        computed = environment.computed_full_id()
        if computed != env_id.full_id and not any("sha256" in p.hashes for p in environment.packages):
            found.append(f"its packages amount to full_id {computed}, not {env_id.full_id}")
    for package in environment.packages:
        for fmt, key in package.cached.items():
            digest = key.split("/")[-2] if key.count("/") > 1 else ""
            if package.hashes.get(fmt) not in {None, digest}:
                found.append(f"{package.filename}{fmt} has the digest {package.hashes[fmt]} and the key of {digest}")
    return found


def checked_name(text: str) -> Alias:
    """Return a name that can be given to an environment.

    Raises:
        UsageError: It is none, or means an environment already: ids, the step of a run.
    """
    alias = Alias.parse(text)
    if alias.kind != "generic":
        raise UsageError(f"{text!r} is not a name that can be given", expected="NAME[:TAG]")
    return alias
