"""Two hundred racers for one immutable name: processes, each with store handles of its own. Exactly one wins."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from asynccache.catalog.aliases import Aliases
from asynccache.catalog.keys import CatalogKeys
from asynccache.errors import AliasTakenError
from asynccache.model.alias import Alias
from asynccache.store.local import LocalStore
from asynccache.store.memory import MemoryStore
from tests.catalog.racer import NAME, ids_of
from tests.support.effort import tries
from tests.support.object_servers import BUCKET, ObjectServer

RACERS = 200
REPOSITORY = Path(__file__).resolve().parents[2]


def _race(root: str, endpoint: str, environment: dict[str, str], processes: int, racers: int = RACERS) -> None:
    """Run the race and check what everybody heard."""
    each = racers // processes
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.catalog.racer", root, endpoint, str(n * each), str(each)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env={**clean, **environment},
        )
        for n in range(processes)
    ]  # fmt: skip
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    results = [json.loads(process.communicate(timeout=120)[0]) for process in running]
    winners = [number for result in results for number in result["won"]]
    heard = [text for result in results for text in result["heard"]]
    assert len(winners) == 1
    assert len(heard) == racers - 1
    holder = ":".join(ids_of(winners[0]))
    assert all(f"is immutable and refers to {holder} since 20" in text for text in heard)


def test_on_a_local_store_one_of_two_hundred_wins(tmp_path: Path) -> None:
    _race(str(tmp_path / "store"), "", {}, processes=8)
    stored = (tmp_path / "store" / CatalogKeys().alias(NAME)).read_bytes()
    assert json.loads(stored) in [list(ids_of(n)) for n in range(RACERS)]


@pytest.mark.xdist_group("object-servers")
def test_on_an_s3_store_one_of_many_wins(weed: ObjectServer) -> None:
    _race(f"s3://{BUCKET}/{uuid4().hex}", weed.url, weed.environment, processes=4, racers=tries(40, RACERS))


async def test_in_memory_one_of_two_hundred_wins() -> None:
    store = MemoryStore()
    handles = [Aliases(store, user=f"u{n}") for n in range(RACERS)]
    results = await asyncio.gather(*(h.assign(NAME, ids_of(n)) for n, h in enumerate(handles)), return_exceptions=True)
    assert results.count(True) == 1
    assert sum(isinstance(r, AliasTakenError) for r in results) == RACERS - 1


async def test_moves_by_many_processes_are_all_in_the_history(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path; from asynccache.catalog.aliases import Aliases;"
        "from asynccache.model.alias import Alias; from asynccache.store.local import LocalStore\n"
        "async def main():\n"
        "    async with LocalStore(Path(sys.argv[1])) as store:\n"
        "        for n in range(5):\n"
        "            ids = (f'{int(sys.argv[2]):040x}', f'{n:040x}')\n"
        "            await Aliases(store, user=sys.argv[2]).assign(Alias.parse('env:latest'), ids)\n"
        "asyncio.run(main())"
    )
    running = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(tmp_path / "s"), str(n), cwd=REPOSITORY)
        for n in range(6)
    ]
    assert [await process.wait() for process in running] == [0] * 6
    async with LocalStore(tmp_path / "s") as store:
        moves = await Aliases(store).history(Alias.parse("env:latest"))
    assert {m.target for m in moves} == {(f"{p:040x}", f"{n:040x}") for p in range(6) for n in range(5)}
    assert all(a.target == b.source for a, b in itertools.pairwise(moves))
