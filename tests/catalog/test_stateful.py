"""Any sequence of publishing, naming, moving and foreign writes leaves a catalog that says what was done."""

import asyncio
import itertools
import json
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asynccache.catalog.aliases import Aliases
from asynccache.config import Settings
from asynccache.errors import AliasTakenError, ObjectNotFoundError, StoreError, UsageError
from asynccache.model.alias import Alias
from asynccache.ops.catalog import Catalog
from asynccache.store.memory import MemoryStore
from tests.catalog.test_local import environment
from tests.support.effort import tries

T = TypeVar("T")
NUMBERS = st.integers(1, 5)
IMMUTABLE = st.sampled_from(["a/env:v1", "a/env:v2", "b:x"])
MUTABLE = st.sampled_from(["a/env:latest", "b:stable"])
Ids = tuple[str, str]


def _ids(number: int) -> Ids:
    env_id = environment(number).id
    return env_id.req_id, env_id.full_id


class CatalogMachine(RuleBasedStateMachine):
    """A store and a manifest, beside a model of what they should say."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="asynccache-stateful-"))
        self.store = MemoryStore()
        self.runner = asyncio.Runner()
        chosen = Settings(cache_dir=self.directory / "cache", datastore_root=self.directory, username="me")
        self.catalog = Catalog(chosen, self.store)
        self.published: set[int] = set()
        self.kept: set[int] = set()
        self.given: dict[str, Ids] = {}
        self.moves: dict[str, list[Ids]] = {}

    def teardown(self) -> None:
        """Remove the scratch directory."""
        self.runner.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run to the end."""
        return self.runner.run(coroutine)

    @initialize()
    def start(self) -> None:
        """Begin with one environment."""
        self.publish(1)

    @rule(number=NUMBERS)
    def publish(self, number: int) -> None:
        """Write a document."""
        assert self.catalog.documents is not None
        self.do(self.catalog.documents.put(environment(number)))
        self.published.add(number)

    @rule(number=NUMBERS)
    def keep(self, number: int) -> None:
        """Take one into the manifest."""
        self.do(self.catalog.keep([environment(number)], default=True))
        self.kept.add(number)

    @rule(name=IMMUTABLE, number=NUMBERS)
    def name(self, name: str, number: int) -> None:
        """Give an immutable name."""
        known = number in self.published
        try:
            done = self.do(self.catalog.alias(":".join(_ids(number)), [name]))
        except ObjectNotFoundError:
            assert not known
            assert number not in self.kept
            return
        except StoreError:
            # known only here, and its package is nowhere: nothing is published
            assert not known
            assert number in self.kept
            return
        if name in self.given and self.given[name] != _ids(number):
            assert isinstance(done.failed[str(Alias.parse(name))], AliasTakenError)
        else:
            self.given[name] = _ids(number)

    @rule(name=IMMUTABLE, numbers=st.lists(NUMBERS, min_size=2, max_size=6))
    def race(self, name: str, numbers: list[int]) -> None:
        """Many give one immutable name at once."""

        async def all_at_once() -> list[Any]:
            racers = (Aliases(self.store, user=f"u{n}").assign(Alias.parse(name), _ids(n)) for n in numbers)
            return await asyncio.gather(*racers, return_exceptions=True)

        for number in numbers:
            self.publish(number)
        results = self.do(all_at_once())
        winners = [n for n, result in zip(numbers, results, strict=True) if result is True]
        assert len(winners) == (0 if name in self.given else 1)
        if winners:
            self.given[name] = _ids(winners[0])

    @rule(name=MUTABLE, numbers=st.lists(NUMBERS, min_size=1, max_size=4))
    def move(self, name: str, numbers: list[int]) -> None:
        """Several move one name at once."""

        async def all_at_once() -> None:
            alias = Alias.parse(name)
            async with asyncio.TaskGroup() as group:
                for n in numbers:
                    group.create_task(Aliases(self.store, user=f"u{n}").assign(alias, _ids(n)))

        for number in numbers:
            self.publish(number)
        self.do(all_at_once())
        now = self.do(Aliases(self.store).get(Alias.parse(name)))
        assert now in [_ids(n) for n in numbers]
        self.moves.setdefault(name, []).append(now)

    @rule(name=MUTABLE, number=NUMBERS)
    def move_carelessly(self, name: str, number: int) -> None:
        """A writer that knows no history moves a name."""
        self.publish(number)
        key = self.catalog.keys.alias(Alias.parse(name))
        self.do(self.store.put(key, json.dumps(list(_ids(number))).encode()))
        self.moves.setdefault(name, []).append(_ids(number))

    @precondition(lambda self: self.moves)
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        """Go back."""
        name = data.draw(st.sampled_from(sorted(self.moves)))
        try:
            now, _before = self.do(self.catalog.rollback(name, None))
        except UsageError:
            assert len(self.do(Aliases(self.store).history(Alias.parse(name)))) < 2
        else:
            self.moves[name].append(now)

    @rule(number=NUMBERS)
    def overwrite_the_manifest(self, number: int) -> None:
        """A careless program puts back what it had read long ago."""
        document = {
            "version": 1,
            "environments": {"linux-64": {_ids(number)[0]: {_ids(number)[1]: environment(number).as_document()}}},
        }
        self.catalog.manifest.path.parent.mkdir(parents=True, exist_ok=True)
        self.catalog.manifest.path.write_text(json.dumps(document))
        self.kept = {number}

    @invariant()
    def names_mean_what_they_should(self) -> None:
        """Every name stands for what it was given to; histories are unbroken and end where the name is."""
        aliases = Aliases(self.store)
        for name, ids in self.given.items():
            assert self.do(aliases.get(Alias.parse(name))) == ids
        for name, seen in self.moves.items():
            alias = Alias.parse(name)
            history = self.do(aliases.history(alias))
            assert history[-1].target == seen[-1] == self.do(aliases.get(alias))
            assert all(a.target == b.source for a, b in itertools.pairwise(history))

    @invariant()
    def the_list_is_complete(self) -> None:
        """The list is the union of the store and the manifest."""
        rows = self.do(self.catalog.listed())
        there = {row.summary.id for row in rows if row.remote}
        here = {row.summary.id for row in rows if row.local}
        assert there == {environment(n).id for n in self.published}
        assert here == {environment(n).id for n in self.kept}


TestCatalog = CatalogMachine.TestCase
TestCatalog.settings = settings(max_examples=25, stateful_step_count=tries(12, 20), deadline=None)
