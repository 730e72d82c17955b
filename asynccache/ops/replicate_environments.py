"""Replicating environments: objects beside a document before it, documents after their packages, aliases last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Final

from asynccache.boot.zstd import find_decompressor
from asynccache.catalog.aliases import Aliases, Ids
from asynccache.catalog.collection import PUBLISHING, about_to_name
from asynccache.catalog.keys import CatalogKeys
from asynccache.engine import events
from asynccache.errors import AliasTakenError, AsyncCacheError, IntegrityError, ObjectNotFoundError, UsageError
from asynccache.model.alias import Alias
from asynccache.model.digest import Digests
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID, checked_ids
from asynccache.model.platform import ARCHITECTURES
from asynccache.node import pack_reader
from asynccache.node.errors import NoPackError, PackUnusableError
from asynccache.node.json_text import read_json
from asynccache.node.pack_format import OBJECT_NAME
from asynccache.node.ranges import LocalRanges
from asynccache.ops.reachable import needed_places, reached, source_directories
from asynccache.ops.replicate_objects import ObjectReplica
from asynccache.runtime.budget import Budget
from asynccache.runtime.tasks import outcome_of, run_works
from asynccache.store.base import ObjectInfo, Store
from asynccache.store.key_set import KeySet

_FEW: Final = 32  # environments that are listed one by one rather than with all others
_AT_ONCE: Final = 16


async def objects_of_environments(
    store: Store, keys: CatalogKeys, ids: frozenset[Ids] | None
) -> AsyncGenerator[tuple[EnvID, ObjectInfo]]:
    """Yield documents and the objects beside them, grouped by environment.

    Args:
        store: An open store.
        keys: Where they are.
        ids: Ids of the selected environments, for all architectures; None for all.

    Raises:
        StoreError: The store cannot be listed.
    """
    prefixes = [f"{keys.dirname}/"]
    if ids is not None and len(ids) <= _FEW:
        every = [keys.document(EnvID(*each, arch)) for arch in sorted(ARCHITECTURES) for each in sorted(ids)]
        prefixes = [key.removesuffix("env") for key in every]
    for prefix in prefixes:
        async for info in store.scan(prefix):
            env_id = keys.parse_document(f"{info.key.rpartition('/')[0]}/env")
            if env_id is not None and (ids is None or (env_id.req_id, env_id.full_id) in ids):
                yield env_id, info


class EnvironmentReplica:
    """Copies documents and aliases, once the packages exist.

    Args:
        objects: Copies single objects; knows which packages exist.
        ids: Ids of the selected environments; None for all.
    """

    def __init__(self, objects: ObjectReplica, ids: frozenset[Ids] | None) -> None:
        settings = objects.host.settings
        self._objects = objects
        self._ids = ids
        self._keys = CatalogKeys(settings.envs_dirname)
        self._dirname = settings.packages_dirname
        self._user = settings.username
        self._present = KeySet()  # ids of environments with a document in the target
        self._held: set[Ids] = set()  # those with a document that only the source has
        self._met: set[Ids] = set()  # selected ids that the source has

    async def copy(self) -> None:
        """Copy documents whose packages exist, and before each the objects beside it.

        Raises:
            StoreError: One of the stores cannot be listed.
        """
        objects = self._objects
        async for _env_id, info in objects_of_environments(objects.store, self._keys, self._ids):
            objects.seen(info)
        await run_works(self._groups(), self._environment, room=Budget(_AT_ONCE, "documents"), keep=False)
        for ids in sorted((self._ids or frozenset()) - self._met):
            text = ":".join(ids)
            objects.report("failed", text, ObjectNotFoundError(f"{objects.source.address} has no document of {text}"))

    async def copy_names(self, names: frozenset[Alias] | None, *, anyway: bool) -> None:
        """Move aliases to what they refer to in the source, if all of their environments exists.

        Args:
            names: The aliases to copy, of those that people gave; None for all.
            anyway: Also move those that were moved in the target since.

        Raises:
            StoreError: One of the stores cannot be listed.
        """
        room = Budget(_AT_ONCE, "names")
        await run_works(self._full_ids(), self._full_id, room=room, keep=False)
        here = Aliases(self._objects.store, self._keys, self._user)
        there = Aliases(self._objects.source, self._keys, self._user)

        async def one(alias: Alias) -> None:
            outcome = await outcome_of(self._name(here, there, alias, anyway=anyway))
            if isinstance(outcome, AliasTakenError):
                self._objects.report("different", str(alias), outcome)
            elif isinstance(outcome, AsyncCacheError):
                self._objects.report("failed", str(alias), outcome)

        await run_works(_every(there) if names is None else sorted(names, key=str), one, room=room, keep=False)

    async def _groups(self) -> AsyncGenerator[tuple[EnvID, list[ObjectInfo]]]:
        group: list[ObjectInfo] = []
        last: EnvID | None = None
        async with aclosing(objects_of_environments(self._objects.source, self._keys, self._ids)) as found:
            async for env_id, info in found:
                if env_id != last and last is not None:
                    yield last, group
                    group = []
                last = env_id
                group.append(info)
        if last is not None:
            yield last, group

    async def _environment(self, group: tuple[EnvID, list[ObjectInfo]]) -> None:
        env_id, infos = group
        ids, objects, key = (env_id.req_id, env_id.full_id), self._objects, self._keys.document(env_id)
        document = next((info for info in infos if info.key == key), None)
        if document is None:
            return  # `audit` reports packs without one
        if self._ids is not None:
            self._met.add(ids)
        data = b""
        if not objects.has(key) and not objects.result.dry_run:
            outcome = await outcome_of(objects.look_at(key, partial(ResolvedEnvironment.from_json, env_id)))
            if isinstance(outcome, AsyncCacheError):
                self._held.add(ids)
                objects.report("failed", key, outcome)
                return
            environment, data = outcome
            missing = [place for place in self._places(environment) if not objects.has(place)]
            if missing:
                self._held.add(ids)
                more = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
                objects.report("held back", key, f"{missing[0]}{more} not in {objects.result.store}")
                return
            if gone := await self._collected(environment):
                self._held.add(ids)
                objects.report("held back", key, f"{gone} was collected from {objects.result.store} meanwhile")
                return
        for info in infos:
            await self._beside(env_id, info)
        if await objects.given("documents", document, data):
            self._present.add("/".join(ids))
        else:
            self._held.add(ids)

    async def _collected(self, environment: ResolvedEnvironment) -> str:
        """Protect what a document is going to name from collection; return what was already collected."""
        store, env_id = self._objects.store, environment.id
        directories = {each for package in environment.packages for each in source_directories(package, self._dirname)}
        if await about_to_name(store, (env_id.req_id, env_id.full_id), f"{env_id.arch}{PUBLISHING}", directories):
            found = await reached(store, environment, self._keys, self._dirname)
            return found.missing[0] if found.missing else ""
        return ""

    def _places(self, environment: ResolvedEnvironment) -> Iterable[str]:
        return (place for package in environment.packages for place in needed_places(package, self._dirname))

    async def _beside(self, env_id: EnvID, info: ObjectInfo) -> None:
        digest = self._keys.digest(env_id, "")
        if info.key.startswith(digest):
            await self._objects.small("digests", info, partial(_has_digest, info.key.removeprefix(digest)))
        elif info.key.endswith(f"/{OBJECT_NAME}"):
            await self._objects.file("packs", info, partial(_wrong_with_pack, env_id))

    async def _full_ids(self) -> AsyncGenerator[ObjectInfo]:
        prefixes = [self._keys.alias(Alias("full-id", "0" * 40)).removesuffix("0" * 40)]
        if self._ids is not None and len(self._ids) <= _FEW:
            prefixes = sorted(self._keys.alias(Alias("full-id", full_id)) for _req_id, full_id in self._ids)
        wanted = None if self._ids is None else {full_id for _req_id, full_id in self._ids}
        for prefix in prefixes:
            await self._objects.look(prefix)
            async for info in self._objects.source.scan(prefix):
                if wanted is None or info.key.rpartition("/")[2] in wanted:
                    yield info

    async def _full_id(self, info: ObjectInfo) -> None:
        objects = self._objects
        if objects.has(info.key) or objects.result.dry_run:
            await objects.given("names", info, b"")
            return
        outcome = await outcome_of(objects.look_at(info.key, lambda data: _ids(info.key, data)))
        if isinstance(outcome, AsyncCacheError):
            objects.report("failed", info.key, outcome)
            return
        ids, data = outcome
        if self._ids is not None and ids not in self._ids:
            return  # another request resolved to the same packages first
        if self._exists(ids, info.key):
            await objects.given("names", info, data)

    async def _name(self, here: Aliases, there: Aliases, alias: Alias, *, anyway: bool) -> None:
        result = self._objects.result
        ids = await there.get(alias)
        if ids is None or not self._exists(ids, str(alias)):
            return
        outcome = await here.follow(there, alias, ids, anyway=anyway, write=not result.dry_run)
        if outcome == "moved on":
            self._objects.report("moved on", str(alias), f"it was moved in {result.store}, and stays")
        elif outcome == "moved":
            result.tally("names").copied += 1
            if not result.dry_run:
                size = len(json.dumps(ids))
                self._objects.host.emit(events.Uploaded(str(alias), self._keys.alias(alias), size, created=True))
        else:
            result.tally("names").there += 1

    def _exists(self, ids: Ids, name: str) -> bool:
        """Return whether all of an environment exists; otherwise report that an alias waits for it."""
        if ids not in self._held and "/".join(ids) in self._present:
            return True
        self._objects.report("held back", name, f"not all of {':'.join(ids)} is in {self._objects.result.store}")
        return False


async def _every(names: Aliases) -> AsyncGenerator[Alias]:
    async for name, _info in names.names():
        yield name


def _ids(key: str, data: bytes) -> Ids:
    try:
        return checked_ids(read_json(data))
    except (ValueError, UsageError) as exc:
        raise IntegrityError(f"{key} is damaged", expected='["REQ_ID", "FULL_ID"]', found=repr(data[:80])) from exc


def _has_digest(sha256: str, data: bytes) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise IntegrityError("the text behind a digest does not match its name", expected=sha256, found=found)


def _wrong_with_pack(env_id: EnvID, path: Path, _digests: Digests) -> str:
    """Return what is wrong with the file of a pack. Blocking."""
    decoder = find_decompressor()
    if decoder is None:
        return "no zstd decoder is available; install backports.zstd"
    ranges = LocalRanges(str(path))
    try:
        index = pack_reader.read_index(ranges, decoder[1], identity=(env_id.req_id, env_id.full_id, env_id.arch))
        pack_reader.check_frames(ranges, index)
    except (NoPackError, PackUnusableError) as exc:
        return str(exc).replace(str(path), "it")
    return ""
