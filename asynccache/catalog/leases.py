"""Leases: environments of deployed flows, which are protected from collection.

    asynccache/leases/DEPLOYER/NAME/TIME.json

A flow on Argo Workflows, Step Functions or Airflow refers to its environments by id, and its runs cannot be listed. A
lease does not expire: it is removed by an operator who knows that the flow no longer exists.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import ClassVar, Final

from asynccache.errors import IntegrityError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.identity import EnvID
from asynccache.node.json_text import read_json
from asynccache.runtime.author import author
from asynccache.store import journal, layout
from asynccache.store.base import Store

PREFIX: Final = f"{layout.OWN}/leases/"
_NOT_IN_KEYS: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Lease(Documented):
    """One lease.

    Attributes:
        name: DEPLOYER/NAME/TIME, by which it is removed.
        flow: Name of the flow; empty if the lease was written by hand.
        environments: The environments that it keeps.
        objects: Keys of other objects in the flow's manifest, such as a bundle.
        root: Root of the store.
        when: UTC, ISO 8601 with zone.
        user: The user.
        host: The machine.
        command: The command, without its arguments.
        version: Version of asynccache.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "name", "flow", "environments", "objects", "root", "when", "user", "host", "command", "version",
    )  # fmt: skip

    name: str
    flow: str
    environments: tuple[EnvID, ...]
    objects: tuple[str, ...]
    root: str
    when: str
    user: str
    host: str
    command: str
    version: str

    @property
    def key(self) -> str:
        """Key of its object."""
        return f"{PREFIX}{self.name}.json"

    @classmethod
    def new(
        cls,
        store: Store,
        deployer: str,
        name: str,
        environments: Sequence[EnvID],
        *,
        flow: str = "",
        objects: Sequence[str] = (),
        user: str | None = None,
    ) -> Lease:
        """Return a lease that is written now.

        Args:
            store: The store.
            deployer: Such as `argo-workflows`.
            name: Name of what was deployed; characters that cannot be part of a key are removed.
            environments: What it keeps; at least one.
            flow: Name of the flow.
            objects: Other keys to keep.
            user: The user, from the settings.

        Raises:
            UsageError: There is nothing to keep, or the name is empty.
        """
        words = [_NOT_IN_KEYS.sub("-", word).strip(".") for word in (deployer, name)]
        if not environments or not all(words):
            raise UsageError("a lease needs a name and what it keeps", expected="a name and environments")
        now, by = datetime.now(UTC), author(user)
        return cls(
            "/".join((*words, now.strftime("%Y%m%dT%H%M%S.%fZ"))),
            flow,
            tuple(dict.fromkeys(environments)),
            tuple(objects),
            store.address,
            now.isoformat(),
            by.user,
            by.host,
            by.command,
            by.version,
        )

    def to_json(self) -> bytes:
        """Return the lease as it is stored."""
        return json.dumps({"schema": 1, **self.as_document()}).encode("ascii")

    @classmethod
    def from_json(cls, name: str, data: bytes) -> Lease:
        """Read a lease.

        Raises:
            IntegrityError: It is not a lease.
        """
        try:
            said = read_json(data)
            environments = tuple(EnvID(e["req_id"], e["full_id"], e["arch"]) for e in said["environments"])
            texts = [str(said.get(word, "")) for word in ("root", "when", "user", "host", "command", "version")]
            return cls(name, str(said["flow"]), environments, tuple(map(str, said["objects"])), *texts)
        except (ValueError, KeyError, TypeError, AttributeError, UsageError) as exc:
            raise IntegrityError(
                f"the lease {name} cannot be read ({exc})", hint="`asynccache gc --leases --remove NAME` removes it"
            ) from exc


@dataclass(frozen=True, slots=True)
class Leases(Documented):
    """The leases of a store.

    Attributes:
        store: Its address.
        leases: In the order of their names.
    """

    store: str
    leases: tuple[Lease, ...]


async def read_leases(store: Store) -> AsyncIterator[Lease]:
    """Yield all leases, in the order of their names.

    Raises:
        IntegrityError: One cannot be read, so what it keeps is unknown.
        StoreError: The store cannot be read.
    """
    async for info in store.scan(PREFIX):
        if info.key.endswith(".json"):
            yield Lease.from_json(info.key.removeprefix(PREFIX).removesuffix(".json"), await store.get(info.key))


async def remove_leases(store: Store, pattern: str, user: str | None = None) -> list[str]:
    """Remove leases whose name is, or matches, a text; return the names of the removed ones.

    Args:
        store: An open store.
        pattern: A name, or a shell pattern of names.
        user: The user, from the settings.

    Raises:
        StoreError: The store cannot be written.
    """
    names = [info.key.removeprefix(PREFIX).removesuffix(".json") async for info in store.scan(PREFIX)]
    chosen = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if chosen:
        await journal.enter(store, "delete", [f"{PREFIX}{name}.json" for name in chosen], user=user)
    for name in chosen:
        await store.delete(f"{PREFIX}{name}.json")
    return chosen
