"""Reading all documents, names and packs of a store: does each document promise only what the store has?

`asynccache warm` brings what is missing. A document that cannot be read keeps its environment from being published: it
is moved away where that is asked for.
"""

from __future__ import annotations

from dataclasses import field, replace

from asynccache.catalog.aliases import Aliases
from asynccache.catalog.documents import EnvironmentDocuments
from asynccache.catalog.keys import CatalogKeys
from asynccache.engine.engine import Engine
from asynccache.errors import AsyncCacheError, IntegrityError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.ops.environment_packages import Needs
from asynccache.ops.environments import doubts
from asynccache.ops.verify import quarantined
from asynccache.ops.verify_packs import verify_packs

_AT_ONCE = 500  # documents held in memory


@dataclass(frozen=True, slots=True)
class EnvironmentDamage(Documented):
    """One document, name or pack that is not what it should be.

    Attributes:
        key: Which object.
        problem: One sentence.
        missing: Packages that the document names and the store has not, by file name.
    """

    key: str
    problem: str
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}"


@dataclass(slots=True)
class EnvironmentsVerification(Documented):
    """What reading the documents and names showed.

    Attributes:
        documents: How many were read.
        names: How many were read.
        packs: How many were read and digested.
        pack_bytes: What they have together.
        damaged: What is wrong.
    """

    documents: int = 0
    names: int = 0
    packs: int = 0
    pack_bytes: int = 0
    damaged: list[EnvironmentDamage] = field(default_factory=list)


async def verify_environments(engine: Engine, *, quarantine: bool = False) -> EnvironmentsVerification:
    """Read every document, name and pack of the store.

    Args:
        engine: An open engine: its store and inventory are used.
        quarantine: Move documents that cannot be read in two readings out of every reader's way.

    Raises:
        StoreError: The store cannot be listed.
    """
    keys = CatalogKeys(engine.settings.envs_dirname)
    documents = EnvironmentDocuments(engine.store, keys)
    result = EnvironmentsVerification()
    there: set[tuple[str, str]] = set()
    batch: list[EnvID] = []
    async for env_id in documents.ids():
        there.add((env_id.req_id, env_id.full_id))
        batch.append(env_id)
        if len(batch) == _AT_ONCE:
            await _verify(engine, batch, result)
            batch = []
    await _verify(engine, batch, result)
    if quarantine:
        result.damaged = [await _moved(engine, documents, keys, damage) for damage in result.damaged]
    aliases = Aliases(engine.store, keys)
    async for name, info in aliases.names():
        result.names += 1
        try:
            ids = await aliases.get(name)
        except AsyncCacheError as exc:
            result.damaged.append(EnvironmentDamage(info.key, str(exc)))
            continue
        if ids is not None and ids not in there:
            result.damaged.append(
                EnvironmentDamage(info.key, f"{name} stands for {ids[0]}:{ids[1]}, of which there is no document")
            )
    result.packs, result.pack_bytes, damaged = await verify_packs(engine)
    result.damaged += [EnvironmentDamage(key, sentence) for key, sentence in damaged.items()]
    result.damaged.sort(key=lambda damage: damage.key)
    return result


async def _verify(engine: Engine, batch: list[EnvID], result: EnvironmentsVerification) -> None:
    keys = CatalogKeys(engine.settings.envs_dirname)
    documents = EnvironmentDocuments(engine.store, keys)
    found, unreadable = await documents.get_all(batch)
    result.documents += len(found) + len(unreadable)
    result.damaged += [EnvironmentDamage(keys.document(i), str(error)) for i, error in unreadable.items()]
    needs = Needs(engine.store, engine.inventory, engine.settings.packages_dirname)
    await needs.add(found)
    for environment in found:
        key = keys.document(environment.id)
        result.damaged += [EnvironmentDamage(key, sentence) for sentence in doubts(environment)]
        result.damaged += _missing(environment, needs, key)
        result.damaged += _other_bytes(environment, needs, key)


async def _moved(
    engine: Engine, documents: EnvironmentDocuments, keys: CatalogKeys, damage: EnvironmentDamage
) -> EnvironmentDamage:
    env_id = keys.parse_document(damage.key)
    found = await documents.still_unreadable(env_id) if env_id is not None else None
    moved_to = await quarantined(engine.store, damage.key, found[0].etag) if found is not None else ""
    return replace(damage, problem=f"{damage.problem}; quarantined as {moved_to}") if moved_to else damage


def _missing(environment: ResolvedEnvironment, needs: Needs, key: str) -> list[EnvironmentDamage]:
    of = needs.by_environment[environment.id]
    missing = tuple(need.package.filename + f for need in of for f in need.missing)
    if not missing:
        return []
    shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    heal = f"`asynccache warm --env {environment.id} --arch {environment.id.arch} --to remote` brings them"
    return [EnvironmentDamage(key, f"{len(missing)} of its {len(of)} packages are missing: {shown}; {heal}", missing)]


def _other_bytes(environment: ResolvedEnvironment, needs: Needs, key: str) -> list[EnvironmentDamage]:
    errors = [need.error for need in needs.by_environment[environment.id]]
    return [EnvironmentDamage(key, str(error)) for error in errors if isinstance(error, IntegrityError)]
