"""One wrong reading of a document, a name or a digest is no damage."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from asynccache.catalog.aliases import Aliases
from asynccache.catalog.digests import EnvironmentDigests
from asynccache.catalog.documents import EnvironmentDocuments
from asynccache.errors import IntegrityError
from asynccache.model.alias import Alias
from asynccache.model.environment_digest import EnvironmentDigest
from asynccache.store.memory import MemoryStore
from tests.support.environments import environment_of

ENVIRONMENT = environment_of([])
NAME = Alias.parse("team/env:v1")
DIGEST = EnvironmentDigest(ENVIRONMENT.id, ())
READERS: dict[str, Callable[[MemoryStore], Awaitable[object]]] = {
    "document": lambda store: EnvironmentDocuments(store).get(ENVIRONMENT.id),
    "name": lambda store: Aliases(store).get(NAME),
    "digest": lambda store: EnvironmentDigests(store).get(ENVIRONMENT.id, DIGEST.sha256),
}


class Misreading(MemoryStore):
    """Gives bytes that are cut short, as often as it is told, whoever opens it."""

    def __init__(self, wrong: list[None] | None = None) -> None:
        super().__init__()
        self.wrong: list[None] = [] if wrong is None else wrong

    def another(self) -> MemoryStore:
        other = Misreading(self.wrong)
        self.share(other)
        return other

    async def get(self, key: str, **named: Any) -> bytes:
        data = await super().get(key, **named)
        if not self.wrong:
            return data
        self.wrong.pop()
        return data[: len(data) // 2]


@pytest.mark.parametrize("what", READERS)
async def test_what_is_read_wrong_once_is_read_again_and_twice_is_damaged(what: str) -> None:
    async with Misreading() as store:
        await EnvironmentDocuments(store).put(ENVIRONMENT)
        await Aliases(store).assign(NAME, (ENVIRONMENT.id.req_id, ENVIRONMENT.id.full_id))
        await EnvironmentDigests(store).put([DIGEST])
        whole = await READERS[what](store)
        store.wrong.append(None)
        assert await READERS[what](store) == whole
        store.wrong += [None, None]
        with pytest.raises(IntegrityError):
            await READERS[what](store)
