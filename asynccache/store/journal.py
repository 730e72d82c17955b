"""A log of what was deleted or moved in a store, and by whom: one object per operation, written beforehand.

asynccache/log/<time>-<random>.json
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from asynccache.model.dataclass import dataclass
from asynccache.model.document import document
from asynccache.node.json_text import read_json
from asynccache.runtime.author import author
from asynccache.store import layout
from asynccache.store.base import Store

PREFIX: Final = f"{layout.OWN}/log/"


@dataclass(frozen=True, slots=True)
class Deed:
    """One entry.

    Attributes:
        when: UTC, ISO 8601 with zone.
        what: `quarantine`, `delete` or `abort`.
        keys: Keys of objects, or the keys that uploads would have got.
        moved_to: The new key of the only object; empty unless it was quarantined.
        user: The user.
        host: The machine.
        command: The command, without its arguments.
        version: Version of asynccache.
    """

    when: str
    what: str
    keys: tuple[str, ...]
    moved_to: str
    user: str
    host: str
    command: str
    version: str

    def as_document(self) -> dict[str, Any]:
        """Return it as plain values."""
        return document(self)


async def enter(store: Store, what: str, keys: Iterable[str], *, moved_to: str = "", user: str | None = None) -> None:
    """Log what is about to be done.

    Args:
        store: An open store.
        what: As in `Deed`.
        keys: Keys of the objects.
        moved_to: The new key of the only object.
        user: The user, from the settings.

    Raises:
        StoreError: It cannot be logged, so it must not be done.
    """
    now = datetime.now(UTC)
    deed = Deed(now.isoformat(), what, tuple(keys), moved_to, **asdict(author(user)))
    name = f"{now.strftime('%Y%m%dT%H%M%S.%fZ')}-{os.urandom(4).hex()}.json"
    await store.put(PREFIX + name, json.dumps(deed.as_document()).encode("ascii"), if_absent=True)


async def entries(store: Store) -> AsyncIterator[Deed]:
    """Yield what was done, in order; other objects are skipped.

    Raises:
        StoreError: The store cannot be read.
    """
    async for info in store.scan(PREFIX):
        try:
            found = read_json(await store.get(info.key))
            texts = [str(found[name]) for name in ("when", "what", "moved_to", "user", "host", "command", "version")]
            keys = tuple(str(key) for key in found["keys"])
        except (ValueError, KeyError, TypeError):
            continue
        yield Deed(texts[0], texts[1], keys, *texts[2:])
