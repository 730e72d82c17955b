"""One process of the race for a name: many handles on one store, all of which try to give it at once.

    python -m tests.catalog.racer ROOT ENDPOINT FIRST COUNT

Prints a line when its handles are open, waits for one, then prints a JSON object: who won, what the others heard.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack

from asynccache.catalog.aliases import Aliases
from asynccache.errors import AliasTakenError
from asynccache.model.alias import Alias
from asynccache.model.root import StoreRoot
from asynccache.store.open import open_store
from asynccache.store.options import StoreOptions

NAME = Alias.parse("team/env:v1")


def ids_of(number: int) -> tuple[str, str]:
    """Return the identity that a racer gives the name to."""
    return f"{number:040x}", f"{number + 1000:040x}"


async def race(root: str, endpoint: str, first: int, count: int) -> dict[str, object]:
    """Open the handles, wait, and try."""
    place = StoreRoot.parse(root, endpoint=endpoint)
    options = StoreOptions(connections=1)
    won, heard = [], []

    async def attempt(aliases: Aliases, number: int) -> None:
        try:
            if await aliases.assign(NAME, ids_of(number)):
                won.append(number)
        except AliasTakenError as exc:
            heard.append(str(exc))

    async with AsyncExitStack() as stack:
        handles = [await stack.enter_async_context(open_store(place, options)) for _ in range(count)]
        for handle in handles:
            await handle.capabilities()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        async with asyncio.TaskGroup() as group:
            for offset, handle in enumerate(handles):
                group.create_task(attempt(Aliases(handle, user=f"u{first + offset}"), first + offset))
    return {"won": won, "heard": heard}


if __name__ == "__main__":
    where, address, begin, how_many = sys.argv[1:]
    result = asyncio.run(race(where, address, int(begin), int(how_many)))
    sys.stdout.write(json.dumps(result) + "\n")
