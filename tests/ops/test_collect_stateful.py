"""Whatever others do while somebody collects, nothing that can be reached is swept, and what cannot be is."""

import asyncio
import random
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from asynccache.model.shard import Shard
from asynccache.ops import collect_sweep
from tests.support.collecting import ENVIRONMENTS, NAMES, World, all_at_once
from tests.support.effort import tries

T = TypeVar("T")
NUMBERS = st.integers(0, ENVIRONMENTS - 1)
DEEDS = st.tuples(
    st.sampled_from(["publish", "name", "deploy", "launch", "hydrate", "rewrite"]), NUMBERS, st.sampled_from(NAMES)
)
DEED_LISTS = st.lists(DEEDS, max_size=4)
SEEDS = st.integers(0, 1000)
SHARDS = st.integers(1, 3)
KILLS = st.none() | st.integers(0, 8)
FORGOTTEN = st.sampled_from(["nothing", "names", "leases", "both"])
HOUR = 3600.0
DAY = 24 * HOUR


class CollectingMachine(RuleBasedStateMachine):
    """A store in which everything happens, beside a model of what must stay."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="asynccache-collecting-"))
        self.runner = asyncio.Runner()
        self.world = World.new(self.directory)
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(collect_sweep, "LIST", 2)  # several lists of few candidates
        self.patch.setattr(collect_sweep, "ENVIRONMENTS", 2)

    def teardown(self) -> None:
        """Remove the scratch directory."""
        self.patch.undo()
        self.runner.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run to the end."""
        return self.runner.run(coroutine)

    def deed(self, what: str, number: int, name: str) -> Coroutine[Any, Any, None]:
        """Return what somebody does."""
        return self.world.name(number, name) if what == "name" else getattr(self.world, what)(number)

    @rule(deed=DEEDS)
    def act(self, deed: tuple[str, int, str]) -> None:
        """Somebody does something."""
        self.do(self.deed(*deed))

    @rule(number=NUMBERS)
    def publish_as_others(self, number: int) -> None:
        """The existing extension publishes."""
        self.do(self.world.publish_as_others(number))

    @rule(name=st.sampled_from(NAMES))
    def unname(self, name: str) -> None:
        """Somebody removes a name."""
        self.do(self.world.unname(name))

    @rule(first=NUMBERS, second=NUMBERS)
    def move_name(self, first: int, second: int) -> None:
        """A name moves from one environment to another."""
        for number in (first, second):
            self.do(self.world.publish(number))
            self.do(self.world.name(number, "team/a:latest"))

    @rule()
    def undeploy(self) -> None:
        """Flows go."""
        self.do(self.world.undeploy())

    @rule(seconds=st.sampled_from([60, HOUR, 3 * HOUR, 20 * DAY, 31 * DAY]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.world.store.time += seconds

    @rule(deeds=DEED_LISTS, seed=SEEDS, kill_at=KILLS, shards=SHARDS)
    def collect(self, deeds: list[tuple[str, int, str]], seed: int, kill_at: int | None, shards: int) -> None:
        """Somebody collects while others do something, alone or in shards, and is killed at times."""
        self.world.store.chance = random.Random(seed)
        works = self.world.collecting(shards, kill_at)
        self.do(all_at_once(self.world, [*works, *(self.deed(*deed) for deed in deeds)]))

    @rule(index=st.integers(1, 2))
    def collect_a_part(self, index: int) -> None:
        """One shard of two runs, and nobody knows when the other one does."""
        self.do(self.world.collect(shard=Shard(index, 2)))

    @rule(
        forgotten=st.sampled_from(["nothing", "names", "leases", "both"]),
        between=DEEDS,
        deeds=DEED_LISTS,
        seed=SEEDS,
        kill_at=KILLS,
        marking=SHARDS,
        sweeping=SHARDS,
    )
    def sweep(
        self,
        forgotten: str,
        between: tuple[str, int, str],
        deeds: list[tuple[str, int, str]],
        seed: int,
        kill_at: int | None,
        marking: int,
        sweeping: int,
    ) -> None:
        """What nobody needs for a month is marked, and swept after the grace period while others do something."""
        if forgotten in {"leases", "both"}:
            self.undeploy()
        for name in NAMES if forgotten in {"names", "both"} else ():
            self.unname(name)
        self.wait(31 * DAY)
        self.do(all_at_once(self.world, self.world.collecting(marking)))
        self.act(between)
        self.wait(2 * HOUR)
        self.collect(deeds, seed, kill_at, sweeping)

    @rule()
    def look(self) -> None:
        """What is looked at stays as it is."""
        before = self.world.there
        self.do(self.world.look())
        assert self.world.there == before

    @invariant()
    def nothing_reachable_was_swept(self) -> None:
        """The model and the store agree."""
        self.world.check()


CollectingMachine.TestCase.settings = settings(
    max_examples=tries(6, 250), stateful_step_count=40, deadline=None, print_blob=True
)
test_nothing_that_can_be_reached_is_swept = CollectingMachine.TestCase
