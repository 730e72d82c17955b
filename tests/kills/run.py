"""Kills processes of every kind at random moments, and reports what they left that must not be.

    python -m tests.kills.run --kills 1000 --seed 1

The same seed gives the same moments, as far as the machine is as fast as it was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.model.environment import ResolvedEnvironment
from tests.boot.conftest import Node, packed_store
from tests.boot.killed_nodes import kill_nodes
from tests.kills.killed_commands import COMMANDS
from tests.support.channel import cached_channel
from tests.support.hydration import cached, channel_paths, packages_of


@dataclass(frozen=True, slots=True)
class Tally:
    """What came of the kills of one kind.

    Attributes:
        hit: Kills that met a running process.
        wrong: What must not be.
    """

    hit: int
    wrong: list[str]


def _command(name: str) -> Callable[[Path, int, int], Tally]:
    def kill(directory: Path, kills: int, seed: int) -> Tally:
        found = _answer("tests.kills.killed_commands", name, directory / "killed", kills, seed)
        return Tally(int(str(found["hit"])), [str(each) for each in _list(found["wrong"])])

    return kill


def _create(directory: Path, kills: int, seed: int) -> Tally:
    document = directory / "document.json"

    async def make() -> ResolvedEnvironment:
        async with Engine(Settings(store=str(directory / "store"), cache_dir=directory / "cache")) as engine:
            return await cached(engine, packages_of(channel_paths(cached_channel("small"))))

    environment = asyncio.run(make())
    document.write_text(json.dumps({"env_id": environment.id.as_list(), **environment.as_document()}), "utf-8")
    words = ("killed", directory / "store", directory / "killed", document, kills, seed)
    found = _answer("tests.hydrate.hydrating_process", *words)
    return Tally(int(str(found["hit"])), [str(each) for each in _list(found["broken"])])


def _node(directory: Path, kills: int, seed: int) -> Tally:
    packed = packed_store(directory / "packed")
    node = Node(directory / "node")
    try:
        return Tally(kill_nodes(node, packed.manifest(directory), kills, seed, files=packed.pack.files), [])
    except (AssertionError, subprocess.CalledProcessError) as exc:
        return Tally(0, [f"{type(exc).__name__}: {exc}"])


def _answer(module: str, *words: object) -> dict[str, object]:
    command = [sys.executable, "-m", module, *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


KINDS: Final[dict[str, Callable[[Path, int, int], Tally]]] = {
    **{name: _command(name) for name in COMMANDS},
    "create": _create,
    "node": _node,
}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills.run", description="Kill processes at random moments.")
    parser.add_argument("--kills", type=int, default=1000, help="in all, shared among the kinds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=KINDS, action="append", help="kind of process; repeat for several")
    arguments = parser.parse_args()
    kinds = arguments.only or list(KINDS)
    hit, wrong = 0, list[str]()
    for number, name in enumerate(kinds):
        share = arguments.kills // len(kinds) + (number < arguments.kills % len(kinds))
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="kills-") as directory:
            tally = KINDS[name](Path(directory), share, arguments.seed)
        elapsed = time.monotonic() - started
        print(f"{name:>10}: {tally.hit} kills in {elapsed:.0f} s, {len(tally.wrong)} wrong", flush=True)  # noqa: T201
        hit += tally.hit
        wrong += [f"{name}: {each}" for each in tally.wrong]
    for each in wrong[:40]:
        print(f"WRONG  {each[:600]}")  # noqa: T201 - its result
    print(f"{hit} kills with seed {arguments.seed}, {len(wrong)} wrong")  # noqa: T201 - its result
    sys.exit(bool(wrong) or hit < arguments.kills)


if __name__ == "__main__":
    main()
