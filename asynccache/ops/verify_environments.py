"""Reading all documents, names and packs of a store: does each document promise only what the store has?

`asynccache warm` brings what is missing. A document that cannot be read keeps its environment from being published: it
is moved away where that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Final

from asynccache.catalog.documents import EnvironmentDocuments
from asynccache.catalog.keys import CatalogKeys
from asynccache.engine.host import Host
from asynccache.engine.sources import Sources
from asynccache.errors import AsyncCacheError, IntegrityError, StoreError, UsageError, error_from_document
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.doubts import doubts
from asynccache.model.environment import ResolvedEnvironment
from asynccache.ops.audit import Auditor
from asynccache.ops.audit_result import AuditFinding
from asynccache.ops.verify import quarantined
from asynccache.store.base import Store

_COUNTS: Final = ("documents", "names", "packs", "pack_bytes")


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
        errors: What could not be read, by key: nothing is known of it.
    """

    documents: int = 0
    names: int = 0
    packs: int = 0
    pack_bytes: int = 0
    damaged: list[EnvironmentDamage] = field(default_factory=list)
    errors: dict[str, AsyncCacheError] = field(default_factory=dict)

    @property
    def looked_at(self) -> int:
        """How many objects were looked at."""
        return self.documents + self.names + self.packs

    def add(self, other: EnvironmentsVerification) -> None:
        """Add what reading others showed."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.damaged += other.damaged
        self.errors |= other.errors

    def forget_failure(self, unit: str) -> None:
        """Take out one that could not be read, and is tried again."""
        self.errors.pop(unit, None)

    @classmethod
    def from_document(cls, said: Mapping[str, Any]) -> EnvironmentsVerification:
        """Read what `as_document` wrote.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        return cls(
            **{name: int(said[name]) for name in _COUNTS},
            damaged=[
                EnvironmentDamage(str(each["key"]), str(each["problem"]), tuple(map(str, each["missing"])))
                for each in said["damaged"]
            ],
            errors={key: error_from_document(error) for key, error in said["errors"].items()},
        )


async def verify_environments(host: Host, sources: Sources, *, quarantine: bool = False) -> EnvironmentsVerification:
    """Read every document, name and pack of the store, as an audit does (see `Auditor`).

    Args:
        host: Settings, threads and budgets to work with.
        sources: The store.
        quarantine: Move documents that cannot be read in two readings out of every reader's way.

    Raises:
        StoreError: The store cannot be listed.
    """
    keys = CatalogKeys(host.settings.envs_dirname)
    result = EnvironmentsVerification()

    def take(documents: Sequence[ResolvedEnvironment]) -> None:
        together: dict[tuple[str, str], list[ResolvedEnvironment]] = {}
        for environment in documents:
            together.setdefault((environment.id.req_id, environment.id.full_id), []).append(environment)
        for environment in documents:
            key, others = keys.document(environment.id), together[environment.id.req_id, environment.id.full_id]
            result.damaged += [EnvironmentDamage(key, sentence) for sentence in _wrong_in(environment, others)]

    def found(finding: AuditFinding) -> None:
        if finding.kind != "missing":  # of which `lacking` tells
            result.damaged.append(EnvironmentDamage(finding.key, finding.text))

    def lacking(environment: ResolvedEnvironment, places: Sequence[str]) -> None:
        result.damaged.append(_missing(environment, places, keys.document(environment.id)))

    audit = await Auditor(host, sources, found, take=take, lacking=lacking).environments()
    result.documents, result.names = audit.documents, audit.names
    result.packs, result.pack_bytes = audit.packs, audit.pack_bytes
    result.errors = audit.unmended
    if quarantine:
        documents = EnvironmentDocuments(sources.store, keys)
        result.damaged = [
            await _moved(host.settings.username, sources.store, documents, keys, damage, result)
            for damage in result.damaged
        ]
    result.damaged.sort(key=lambda damage: damage.key)
    return result


def _wrong_in(environment: ResolvedEnvironment, together: Sequence[ResolvedEnvironment]) -> Iterator[str]:
    """Yield what is wrong in a document, a sentence each."""
    yield from doubts(environment, together)
    for package in environment.packages:
        try:
            if package.downloadable:
                package.to_package()
        except IntegrityError as exc:
            yield str(exc)
        except UsageError:
            continue  # nothing can be fetched there: what the store has of it counts


async def _moved(
    user: str,
    store: Store,
    documents: EnvironmentDocuments,
    keys: CatalogKeys,
    damage: EnvironmentDamage,
    result: EnvironmentsVerification,
) -> EnvironmentDamage:
    env_id = keys.parse_document(damage.key)
    try:
        found = await documents.still_unreadable(env_id) if env_id is not None else None
        moved_to = await quarantined(store, damage.key, found[0].etag, user) if found is not None else ""
    except StoreError as exc:
        result.errors[damage.key] = exc
        return damage
    return replace(damage, problem=f"{damage.problem}; quarantined as {moved_to}") if moved_to else damage


def _missing(environment: ResolvedEnvironment, places: Sequence[str], key: str) -> EnvironmentDamage:
    missing = tuple(place.rpartition("/")[2] for place in places)
    shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    heal = f"`asynccache warm --env {environment.id} --arch {environment.id.arch} --to remote` brings them"
    of = len(environment.packages)
    return EnvironmentDamage(key, f"{len(missing)} of its {of} packages are missing: {shown}; {heal}", missing)
