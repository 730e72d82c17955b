"""Collecting in shards: two processes, a directory, and what each says of it."""

from __future__ import annotations

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from asynccache.catalog.collection_state import STATE_KEY
from tests.support.collecting import World, archives, directory, environment
from tests.support.command_line import run_command

RULES: Final = ("--unreferenced", "--keep-days", "30", "--grace-hours", "1")
HOURS: Final = 2 * 3600


class Shards:
    """A directory of files that are 400 days old, and who collects there."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "st"
        self._tmp_path = tmp_path
        world = World.new(tmp_path / "cache")
        asyncio.run(self._fill(world))
        moment = tmp_path.stat().st_mtime - 400 * 86400
        for key in world.there:
            path = self.root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(world.store.data(key))
            os.utime(path, (moment, moment))
        self.kept = {self.root / world.document(3), *(self.root / key for n in (3, 4, 6) for key in archives(n))}
        self.gone = {self.root / world.document(0), *(self.root / key for n in (0, 1) for key in archives(n))}

    @staticmethod
    async def _fill(world: World) -> None:
        await world.publish(0)  # packages 0, 1, 3
        await world.publish(3)  # packages 3, 4, 6
        await world.name(3, "team/a:v1")

    def run(self, *words: str) -> dict[str, Any]:
        """Run one, and return what it says last."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("ASYNCCACHE_", "METAFLOW_"))}
        named = {"ASYNCCACHE_STORE": str(self.root), "HOME": str(self._tmp_path)}
        done = run_command(["gc", *RULES, *words, "--json"], cwd=self._tmp_path, env={**clean, **named})
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return said

    def together(self) -> list[dict[str, Any]]:
        """Run both at once."""
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda index: self.run("--shard-index", str(index), "--shard-count", "2"), (1, 0)))

    def wait(self) -> None:
        """Let the grace period pass."""
        path = self.root / STATE_KEY
        said = json.loads(path.read_text())
        path.write_text(json.dumps({**said, "marked_at": said["marked_at"] - HOURS}))


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    return Shards(tmp_path)


def test_two_processes_mark_and_sweep_a_store_between_them(shards: Shards) -> None:
    planned = shards.run("--dry-run")["marked"]
    parts = [shards.run("--dry-run", "--shard", f"{index}/2")["marked"] for index in (1, 2)]
    assert sum(part["objects"] for part in parts) == planned["objects"] > 0
    marked = shards.together()
    assert sum(each["marked"]["objects"] for each in marked) == planned["objects"]
    assert [] in [each["unfinished"] for each in marked]
    assert [each["swept"]["objects"] for each in shards.together()] == [0, 0], "the grace period is not over"
    assert all(path.exists() for path in shards.gone)
    shards.wait()
    swept = shards.together()
    assert sum(each["swept"]["bytes"] for each in swept) == planned["bytes"]
    assert all(path.exists() for path in shards.kept)
    assert not any(path.exists() for path in shards.gone)
    assert not (shards.root / directory(0)).exists(), "a directory that this empties"
    again = shards.run("--dry-run")
    assert again["marked"]["objects"] == 0


def test_a_step_of_an_old_run_is_kept_by_a_lease_that_names_it(shards: Shards, tmp_path: Path) -> None:
    path = tmp_path / ".metaflow/TrainFlow/123/train/1/_meta/sysmeta_conda_env_id_1.json"
    path.parent.mkdir(parents=True)
    env_id = environment(0).id
    path.write_text(json.dumps({"value": json.dumps(env_id.as_list()), "ts_epoch": 1_600_000_000_000}))
    os.utime(path, (1.6e9, 1.6e9))
    assert shards.run("--dry-run")["marked"]["by_kind"]["environment"]["objects"] == 1
    run = ["--leases", "--add", "keep-train-123", "--env", "TrainFlow/123/train", "--arch", env_id.arch]
    (lease,) = shards.run(*run)["leases"]
    assert [each["full_id"] for each in lease["environments"]] == [env_id.full_id]
    assert shards.run("--dry-run")["marked"]["objects"] == 0
