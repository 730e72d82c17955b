"""A fleet that starts at once, in virtual time: the code that paces and repeats requests is the product's own.

Nodes ask a store that refuses as S3 does: so many requests a second for each prefix, and no more. Time is that of the
event loop, which jumps to the next moment at which something happens, so an hour of 3,000 nodes takes minutes.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from asynccache.config import Settings
from asynccache.hydrate.packages import asking_order
from asynccache.node.patience import forget_peers
from asynccache.node.ranges import PassingError, Ranges
from asynccache.runtime.budget import Budget
from asynccache.runtime.clock import Clock
from asynccache.runtime.tasks import run_together
from asynccache.store.options import StoreOptions, store_options
from asynccache.store.requests import Requests, Verdict

GETS: Final = 5_500  # a second and prefix (Amazon S3 user guide, "Best practices design patterns: optimizing ...")
PUTS: Final = 3_500  # likewise
_LATENCY: Final = 0.03  # seconds to the first byte, 0.02 at least: the guide speaks of "consistent 100-200 ms" at most
_NETWORK: Final = 1.25e9  # bytes a second of a node: 10 Gbit/s
_CONNECTION: Final = 90e6  # bytes a second of one connection (the same guide: 85-90 MB/s)
_TAIL: Final = 256 << 10  # bytes, as `node.pack_reader` asks for them
_PROCESSES: Final = 64  # S3_WORKER_COUNT of Metaflow
_BOTO_TRIES: Final = 10  # S3_CLIENT_RETRY_CONFIG of Metaflow
_BOTO_LONGEST: Final = 20.0  # seconds: botocore's standard mode waits random() * min(2**n, 20)
_ROUNDS: Final = 20  # S3_TRANSIENT_RETRY_COUNT of Metaflow


class VirtualTime(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no time."""

    def __init__(self) -> None:
        self._moment = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Return the virtual time."""
        return self._moment

    def jump(self, seconds: float) -> None:
        """Move on."""
        self._moment += seconds


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop: VirtualTime) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("everybody waits for something that will never be")
        self._loop.jump(max(0.0, timeout))
        return super().select(0)


class LoopClock(Clock):
    """The clock of the running loop."""

    def now(self) -> float:
        """Return its time."""
        return asyncio.get_running_loop().time()


class SlowDownError(Exception):
    """The store refuses because of the rate."""


@dataclass(slots=True)
class ThrottlingStore:
    """Answers as S3 does: a bucket of tokens, a second's worth, for each prefix and kind of request.

    Attributes:
        gets: That it answers each second for a prefix.
        puts: Likewise.
        answered: Requests, by method.
        refused: Those that were sent away.
    """

    gets: float = GETS
    puts: float = PUTS
    answered: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    _tokens: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    async def ask(self, method: str, key: str, size: int, node: Node) -> None:
        """Move an object, or a part of one.

        Raises:
            SlowDownError: Too many ask for what has the same prefix.
        """
        now = asyncio.get_running_loop().time()
        rate = self.puts if method == "PUT" else self.gets
        place = (prefix_of(key), method)
        tokens, since = self._tokens.get(place, (rate, now))
        tokens = min(rate, tokens + (now - since) * rate)
        taken = tokens >= 1.0
        self._tokens[place] = (tokens - taken, now)
        node.requests += 1
        latency = random.uniform(0.02, 2 * _LATENCY - 0.02)
        if not taken:
            self.refused += 1
            await asyncio.sleep(latency)
            raise SlowDownError
        self.answered[method] += 1
        await asyncio.sleep(latency + max(size / _CONNECTION, node.network(size, now)))


@dataclass(slots=True)
class Node:
    """A machine with tasks.

    Attributes:
        requests: Sent so far, those that were refused among them.
        failures: Tasks that did not get what they need.
    """

    requests: int = 0
    failures: int = 0
    _free: float = 0.0

    def network(self, size: int, now: float) -> float:
        """Return the seconds until so many bytes have come over the network that all on this node share."""
        self._free = max(self._free, now) + size / _NETWORK
        return self._free - now


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a task needs.

    Attributes:
        packages: Key and size of each package's archive.
        pack: Size of the pack of all of them, in bytes.
    """

    packages: Sequence[tuple[str, int]]
    pack: int


def prefix_of(key: str) -> str:
    """Return what of a key has a rate of its own: the subdirectory of a channel, or the directory of an environment."""
    parts = key.split("/")
    return "/".join(parts[:5] if parts[0] == "packages" else parts[:-1])


def environment(packages: int, source: random.Random) -> Wanted:
    """Return an environment as conda-forge has them: many small packages, few large ones, a third of no platform."""
    found = []
    for number in range(packages):
        below = "noarch" if number % 3 == 0 else "linux-64"
        name = f"p{number}-1-0.conda"
        size = int(min(150e6, source.lognormvariate(11.8, 2.0)))
        found.append((f"packages/conda/conda.anaconda.org/conda-forge/{below}/{name}/{name}/{number:032}/{name}", size))
    return Wanted(sorted(found), int(0.9 * sum(size for _key, size in found)))


class _Client(Requests):
    """Requests of one process, as every store makes them: paced, repeated, limited."""

    def __init__(self, store: ThrottlingStore, node: Node, options: StoreOptions, name: str) -> None:
        super().__init__(options)
        self._store = store
        self._node = node
        self._known_as(name)

    async def get(self, key: str, size: int) -> None:
        await self._repeat(
            lambda: self._store.ask("GET", key, size, self._node),
            (SlowDownError,),
            lambda _exc: Verdict("throttled", True),
            size,
        )


class _PackRanges(Ranges):
    """The waits of a bare node that reads a pack."""

    async def get(self, store: ThrottlingStore, node: Node, size: int) -> None:
        """Ask for a range until it comes."""
        tries = self._tries()
        while True:
            try:
                await store.ask("GET", self.name, size, node)
            except SlowDownError:
                await asyncio.sleep(self._pause(tries, PassingError("SlowDown", throttled=True)))
            else:
                return


async def from_pack(store: ThrottlingStore, node: Node, wanted: Wanted, _name: str) -> None:
    """Read a pack as a bare node does: its end, and then ranges of it at once."""
    ranges = _PackRanges(f"envs/linux-64/{'0' * 40}/{'1' * 40}/asynccache-pack-v1")
    await ranges.get(store, node, _TAIL)
    streams = max(1, min(ranges.streams, wanted.pack // (2 << 20)))
    await run_together([ranges.get(store, node, wanted.pack // streams) for _ in range(streams)])


async def from_packages(store: ThrottlingStore, node: Node, wanted: Wanted, name: str) -> None:
    """Read the document and then the packages, as `create` does."""
    settings = Settings()
    client = _Client(store, node, store_options(settings, LoopClock()), name)
    await client.get(f"envs/linux-64/{'0' * 40}/{'1' * 40}/env", 200_000)
    room = Budget(settings.in_flight)

    async def bring(key: str, size: int) -> None:
        async with room.borrow():
            await client.get(key, size)

    order = asking_order([0] * len(wanted.packages))  # a document that records keys says no sizes
    await run_together([bring(*wanted.packages[number]) for number in order])


async def one_by_one(store: ThrottlingStore, node: Node, wanted: Wanted, _name: str) -> None:
    """Read an object for each package with nothing between requests, as Metaflow's S3 client does for the extension.

    64 processes; botocore repeats each request ten times; what is refused then is asked for again, some more than were
    answered in the round before, after 2, 4, ... seconds, 20 times.
    """
    waiting = [*wanted.packages]
    count = len(waiting)
    for number in range(1, _ROUNDS + 2):
        some, waiting = waiting[:count], waiting[count:]
        left, lost = iter(some), list[tuple[str, int]]()

        async def process(left: Iterator[tuple[str, int]] = left, lost: list[tuple[str, int]] = lost) -> None:
            for item in left:
                for attempt in range(_BOTO_TRIES):
                    try:
                        await store.ask("GET", *item, node)
                    except SlowDownError:
                        await asyncio.sleep(random.random() * min(2.0**attempt, _BOTO_LONGEST))
                    else:
                        break
                else:
                    lost.append(item)

        await run_together([process() for _ in range(min(_PROCESSES, len(some)))])
        waiting = lost + waiting
        if not waiting:
            return
        count = int((len(some) - len(lost)) * 1.2) or 2 * _PROCESSES
        await asyncio.sleep(min(360.0, 2.0**number) * random.uniform(0.9, 1.1))
    raise SlowDownError


Hydrate = Callable[[ThrottlingStore, Node, Wanted, str], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What it took.

    Attributes:
        requests: Of each node.
        ready: Virtual seconds of each task until it had all, in ascending order.
        failures: Tasks that gave up.
        refused: Requests that the store sent away.
    """

    requests: Sequence[int]
    ready: Sequence[float]
    failures: int
    refused: int

    def percentile(self, share: float) -> float:
        """Return the seconds in which a share of the tasks had all."""
        return self.ready[min(len(self.ready) - 1, int(share * len(self.ready)))]

    @property
    def requests_per_node(self) -> float:
        """The mean."""
        return sum(self.requests) / len(self.requests)


def simulate(
    hydrate: Hydrate,
    wanted: Wanted,
    *,
    nodes: int,
    tasks: int,
    shared: bool,
    seed: int = 1,
    within: float = 1.0,
    scale: float = 1.0,
) -> Outcome:
    """Let a fleet start.

    Args:
        hydrate: How a task gets what it needs.
        wanted: What that is.
        nodes: How many there are.
        tasks: On each.
        shared: What one task of a node has fetched is available to the others, which wait for it.
        seed: Of all that is random.
        within: Seconds in which all tasks start.
        scale: Of the store's rates: a fleet of a hundredth at a hundredth of the rates takes as long.
    """
    random.seed(seed)
    forget_peers()
    store = ThrottlingStore(GETS * scale, PUTS * scale)
    every = [Node() for _ in range(nodes)]
    seconds: list[float] = []

    async def task(number: int, node: Node, turn: asyncio.Lock, done: list[bool]) -> None:
        await asyncio.sleep(random.uniform(0.0, within))
        began = asyncio.get_running_loop().time()
        try:
            if shared:
                async with turn:
                    if not done:
                        await hydrate(store, node, wanted, f"node {number}")
                        done.append(True)
            else:
                await hydrate(store, node, wanted, f"task {number}")
        except Exception:  # noqa: BLE001 - whatever it is, this task has failed
            node.failures += 1
        seconds.append(asyncio.get_running_loop().time() - began)

    async def run() -> None:
        numbers = iter(range(nodes * tasks))
        async with asyncio.TaskGroup() as group:
            for node in every:
                turn, done = asyncio.Lock(), list[bool]()
                for _ in range(tasks):
                    group.create_task(task(next(numbers), node, turn, done))

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.run(run())
    return Outcome(
        [node.requests for node in every], sorted(seconds), sum(node.failures for node in every), store.refused
    )
