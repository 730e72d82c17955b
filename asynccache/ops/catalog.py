"""Everything that is known about environments, opened together: this machine's manifest, the store's documents and
aliases.

async with open_store(...) as store:
    catalog = Catalog(settings, store) environment = await catalog.find("team/env:v1", "linux-64")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from asynccache.catalog.aliases import Aliases, Move
from asynccache.catalog.digests import EnvironmentDigests
from asynccache.catalog.documents import EnvironmentDocuments
from asynccache.catalog.index import CatalogIndex
from asynccache.catalog.indexed import IndexedManifest
from asynccache.catalog.keys import CatalogKeys
from asynccache.catalog.local import LocalManifest, Manifest
from asynccache.catalog.lookup import Lookup, RemotePolicy
from asynccache.catalog.place import datastore_directory, index_path, manifest_path
from asynccache.catalog.runs import Runs
from asynccache.config import Settings
from asynccache.errors import (
    AsyncCacheError,
    IntegrityError,
    ObjectNotFoundError,
    StoreError,
    UsageError,
    raise_failures,
)
from asynccache.model.alias import Alias
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.environment_digest import EnvironmentDigest, split_name
from asynccache.model.identity import EnvID
from asynccache.model.platform import ARCHITECTURES
from asynccache.ops.naming import Ids, Meaning, meaning_of
from asynccache.ops.vouching import Vouched, remember, remembered, vouched_locally
from asynccache.runtime.late_loop import in_thread
from asynccache.runtime.tasks import run_together
from asynccache.store.base import Store

if TYPE_CHECKING:
    from asynccache.catalog.listing import Listed, StoreCatalog
    from asynccache.ops.environment_packages import Need


@dataclass(frozen=True, slots=True)
class Aliased(Documented):
    """The result of assigning aliases to an environment.

    Attributes:
        ids: (req_id, full_id) of the environment.
        changed: Aliases that refer to it now.
        unchanged: Aliases that referred to it already.
        failed: Aliases that could not be assigned, and why.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("req_id", "full_id", "changed", "unchanged", "failed")

    ids: tuple[str, str]
    changed: tuple[Alias, ...]
    unchanged: tuple[Alias, ...]
    failed: dict[str, AsyncCacheError]

    def raise_for_failures(self) -> None:
        """Raise if an alias could not be assigned.

        Raises:
            AsyncCacheError: The failure, if it is the only one.
            PartialFailureError: Why, by alias.
        """
        asked = len(self.failed) + len(self.changed) + len(self.unchanged)
        # each failure names its alias: one alone needs no sentence above it, even if others were assigned
        raise_failures(f"{len(self.failed)} of {asked} names were not given", self.failed, asked=len(self.failed))

    @property
    def req_id(self) -> str:
        """What was asked for."""
        return self.ids[0]

    @property
    def full_id(self) -> str:
        """What was found."""
        return self.ids[1]


class Catalog:
    """The catalog.

    Args:
        settings: All settings.
        store: An open store; None to use only what this machine knows.
        say: Called with a sentence when something damaged was quarantined.
    """

    def __init__(self, settings: Settings, store: Store | None, say: Callable[[str], None] | None = None) -> None:
        self.settings = settings
        self.store = store
        self.keys = CatalogKeys(settings.envs_dirname)
        path = manifest_path(settings)
        self.manifest = LocalManifest(path, settings.lock_timeout, say)
        self.local = IndexedManifest(path, CatalogIndex(index_path(settings, str(path))))
        self.runs = Runs(datastore_directory(settings))
        self.policy = RemotePolicy.parse(settings.use_remote_latest, settings.username)
        self.documents = self.aliases = self.digests = None
        self.remote: StoreCatalog | None = None
        if store is not None:
            from asynccache.catalog.listing import StoreCatalog  # noqa: PLC0415 - not needed for what is known locally

            self.documents = EnvironmentDocuments(store, self.keys)
            self.aliases = Aliases(store, self.keys, settings.username)
            self.digests = EnvironmentDigests(store, self.keys)
            index = CatalogIndex(index_path(settings, f"{store.root.identity} {self.keys.dirname}"))
            self.remote = StoreCatalog(store, self.keys, index)
        self.lookup = Lookup(
            self.local,
            self.documents,
            self.aliases,
            self.policy,
            self.runs.ids,
            say or str,
            partial(vouched_locally, settings),
        )
        self._say = say
        self._doubted: set[str] = set()

    async def listed(self, arch: str | None = None, *, local: bool = True, remote: bool = True) -> Sequence[Listed]:
        """Return the known environments, most recently resolved first.

        Raises:
            IntegrityError: The local manifest is damaged.
            StoreError: The store cannot be listed.
        """
        from asynccache.catalog.listing import list_environments  # noqa: PLC0415 - looking up does without

        return await list_environments(self.local if local else None, self.remote if remote else None, arch)

    async def known(self, text: str, *, local_first: bool = False) -> Meaning | None:
        """Return what a text means if that is known without asking a store; otherwise None."""
        try:
            found = await meaning_of(self, text, local_first=local_first)
        except (UsageError, ObjectNotFoundError):
            return None
        return None if found.alias is not None and found.alias.mutable else found

    async def find(self, text: str, arch: str) -> ResolvedEnvironment:
        """Return the environment that a text means (see `asynccache.ops.naming`).

        Raises:
            UsageError: It is not a valid name, or the file is not a document.
            ObjectNotFoundError: No environment is known under it, or none for this architecture (the message says for
                which).
        """
        meaning = await meaning_of(self, text, arch)
        environment = meaning.document or await self.lookup.by_id(EnvID(*meaning.ids, arch))
        if environment is not None:
            await self.doubt(environment)
            return await self._with_digest(environment, meaning.digest) if meaning.digest else environment
        others = [e.id.arch for e in await self._of(meaning.ids) if e.id.arch != arch]
        raise ObjectNotFoundError(
            f"{meaning} is not available for {arch}",
            expected=f"--arch {' or '.join(others)}" if others else None,
            hint=None if others else "no document of it is known for any architecture: resolve or import it again",
        )

    async def doubt(self, environment: ResolvedEnvironment) -> None:
        """Report inconsistencies in a document, once."""
        if self._say is None:
            return
        from asynccache.model.doubts import doubts  # noqa: PLC0415 - nothing is reported otherwise

        ids, archs = environment.id, [a for a in environment.resolved_archs if a != environment.id.arch]
        together = await run_together([self._at_hand(EnvID(ids.req_id, ids.full_id, arch)) for arch in archs])
        for doubt in doubts(environment, [other for other in together if other is not None]):
            sentence = f"the document of {ids} may have been changed: {doubt}"
            if sentence not in self._doubted:
                self._doubted.add(sentence)
                self._say(sentence)

    async def _at_hand(self, env_id: EnvID) -> ResolvedEnvironment | None:
        try:
            return await self.lookup.by_id(env_id)
        except AsyncCacheError:  # another architecture's document is only looked at if it can be read
            return None

    async def _with_digest(self, environment: ResolvedEnvironment, digest: str) -> ResolvedEnvironment:
        """Return an environment bound to a digest in its name, for which this machine vouches from then on."""
        cache_dir = self.settings.cache_dir
        known = await in_thread(remembered, cache_dir, environment.id)
        stands_for = known.digest if known is not None and digest in {known.name, known.digest.sha256} else None
        if stands_for is None and self.digests is not None:
            stands_for = await self.digests.get(environment.id, digest)
        if stands_for is None:
            computed = EnvironmentDigest.of(environment)
            stands_for = computed if computed is not None and computed.sha256 == digest else None
        if stands_for is None:
            names = await self.digests.names(environment.id) if self.digests is not None else ()
            raise IntegrityError(
                f"{environment.id} for {environment.id.arch} never had the digest that is named",
                expected=f"sha256:{digest}",
                found=" or ".join(f"sha256:{name}" for name in names if name) or "none",
                hint="`asynccache env show` prints it; ask who named it which environment was meant",
            )
        bound = stands_for.applied(environment)
        if known is None or known.digest != stands_for:
            await in_thread(remember, cache_dir, [Vouched(stands_for, digest)])
        return bound

    async def get(self, text: str, arch: str, *, default: bool = True) -> list[ResolvedEnvironment]:
        """Add an environment, and those resolved together with it, to the local manifest; return them.

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
        """Add environments, and aliases with the (req_id, full_id) that they refer to, to the local manifest.

        Raises:
            DiskError: It cannot be written.
            LockTimeoutError: Another program holds its lock.
        """
        kept, named = list(environments), dict(names or {})

        def change(manifest: Manifest) -> None:
            for environment in kept:
                manifest.add(environment, default=default)
            for name, ids in named.items():
                manifest.assign(name, ids)

        await in_thread(self.manifest.update, change)

    async def alias(self, text: str, names: Sequence[str]) -> Aliased:
        """Assign aliases to an environment whose document is in the store; a local one is published first.

        Raises:
            UsageError: A text is not a valid alias.
            ObjectNotFoundError: There is no such environment.
            StoreError: The store lacks some of its packages, or cannot be written.
        """
        wanted = [checked_name(name) for name in names]
        if self.aliases is None or self.documents is None:
            raise UsageError("names live in the store, and none is open")
        meaning = await meaning_of(self, text)
        ids = meaning.ids
        environments = [meaning.document] if meaning.document is not None else await self._of(ids)
        if not environments:
            raise ObjectNotFoundError(
                f"{meaning.alias or meaning.prefix} refers to {':'.join(ids)}, of which no document is known",
                hint="only an existing environment can have an alias; `asynccache env ls` lists them",
            )
        for environment in environments:
            if await self.documents.get(environment.id) is None:
                await self.publish(environment)
        digests = await self._digests_by_arch(environments, meaning.digest)
        changed, unchanged, failed = list[Alias](), list[Alias](), dict[str, AsyncCacheError]()
        for name in wanted:
            try:
                (changed if await self.aliases.assign(name, ids, digests) else unchanged).append(name)
            except AsyncCacheError as exc:
                failed[str(name)] = exc
        if changed or unchanged:
            await self.keep(names=dict.fromkeys([*changed, *unchanged], ids))
        return Aliased(ids, tuple(changed), tuple(unchanged), failed)

    async def _digests_by_arch(self, environments: Sequence[ResolvedEnvironment], named: str) -> dict[str, str]:
        """Return architecture -> sha256 of environments, as the store has them or as their name says.

        Raises:
            IntegrityError: None of them has the digest in the name.
        """
        found, refused = dict[str, str](), list[IntegrityError]()
        for environment in environments:
            try:
                bound = await self._with_digest(environment, named) if named else environment
                _name, own = await self.digests_of(bound)
            except IntegrityError as exc:
                refused.append(exc)
                continue
            if own:
                found[environment.id.arch] = own
        if named and not found:
            raise refused[0]
        return found

    async def names_of(self, ids: tuple[str, str]) -> list[Alias]:
        """Return the aliases of an environment, local and in the store, sorted.

        Raises:
            StoreError: The store cannot be listed.
        """
        names = {name for name, known in self.local.names() if known == ids}
        if self.remote is not None:
            names |= {name for name, known in await self.remote.names() if known == ids}
        return sorted(names, key=str)

    async def digests_of(self, environment: ResolvedEnvironment, name: str = "") -> tuple[str, str]:
        """Return (the digest in the name or else that of the environment, the digest of its architecture alone).

        Raises:
            StoreError: The store cannot be read.
        """
        if environment.digest is not None:
            return split_name(name)[1], environment.digest.sha256
        own, common = await self.digests.names(environment.id) if self.digests is not None else ("", "")
        return common or own, own

    async def history(self, name: str, *, repair: bool = False) -> list[Move]:
        """Return every move of a mutable alias in the store, oldest first.

        Args:
            name: An alias whose tag can be moved.
            repair: First rebuild the chain of a broken history from what is left of it.

        Raises:
            UsageError: It is not an alias, or immutable.
            ObjectNotFoundError: It is unknown (the message lists similar ones), or known to this machine only.
            IntegrityError: The history was changed.
        """
        alias = checked_name(name)
        if not alias.mutable:
            _, ids = await self.lookup.named(name)
            raise UsageError(
                f"{alias} is immutable: it refers to {ids[0]}:{ids[1]} and never moved",
                expected="latest, candidate, stable",
            )
        moves: list[Move] = []
        if self.aliases is not None:
            moves = await (self.aliases.repair(alias) if repair else self.aliases.history(alias))
        if not moves:
            await self.lookup.named(name)
            raise ObjectNotFoundError(f"{alias} has no history in the store", hint="it is known only on this machine")
        return moves

    async def rollback(self, name: str, to: int | None) -> tuple[tuple[str, str], tuple[str, str] | None]:
        """Move a mutable alias back; return what it refers to now and referred to before.

        Raises:
            UsageError: It is immutable, or has no such move.
            ObjectNotFoundError: It is unknown (the message lists similar ones), or known to this machine only.
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
        """Write a document and its alias by full id, if the store has every package that it names.

        Args:
            environment: The environment.
            needs: What the store has of its packages, in their order; looked up if None.

        Returns:
            What the store holds now: the document that was written first.

        Raises:
            StoreError: Packages are missing; the message names them.
        """
        from asynccache.catalog.collection import PUBLISHING, about_to_name  # noqa: PLC0415 - looking up does without
        from asynccache.ops.environment_packages import needs_of, with_stored_keys  # noqa: PLC0415
        from asynccache.ops.reachable import source_directories, source_of  # noqa: PLC0415

        if self.documents is None or self.store is None:
            raise UsageError("documents live in the store, and none is open")
        dirname, env_id = self.settings.packages_dirname, environment.id
        if needs is None:
            needs = (await needs_of(self.store, dirname, [environment])).by_environment[env_id]
        # it exists and is not written again: `gc` must not collect it before the document says that it is needed
        directories = {each for package in environment.packages for each in source_directories(package, dirname)}
        directories |= {source_of(archive.key, dirname) for need in needs for archive in need.found.values()}
        if await about_to_name(self.store, (env_id.req_id, env_id.full_id), f"{env_id.arch}{PUBLISHING}", directories):
            needs = (await needs_of(self.store, dirname, [environment])).by_environment[env_id]
        missing = [need for need in needs if not need.complete]
        if missing:
            raise StoreError(
                f"{environment.id} is not published: the store lacks {len(missing)} of its {len(needs)} packages",
                found=", ".join(need.name for need in missing[:3]) + (", ..." if len(missing) > 3 else ""),
                hint=f"`asynccache warm --env {environment.id} --arch {environment.id.arch}` fetches and publishes it",
            )
        return await self.documents.put(with_stored_keys(environment, needs))

    async def _of(self, ids: tuple[str, str]) -> list[ResolvedEnvironment]:
        """Return the documents of all architectures that are found."""
        found = await run_together([self.lookup.by_id(EnvID(*ids, arch)) for arch in ARCHITECTURES])
        return [environment for environment in found if environment is not None]


def checked_name(text: str) -> Alias:
    """Return an alias that can be assigned to an environment.

    Raises:
        UsageError: It is not an alias, or identifies an environment already: ids, the step of a run.
    """
    alias = Alias.parse(text)
    if alias.kind != "generic":
        raise UsageError(f"{text!r} is not a name that can be given", expected="NAME[:TAG]")
    return alias
