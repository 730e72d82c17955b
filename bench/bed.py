"""What a case has to work with: inputs, a scratch directory, servers, how many rounds, and how to say what happens."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil  # type: ignore[import-untyped]

from bench.harness import Contender, Sample, Series, serving, worker
from bench.inputs import RECIPES, Archive, load

if TYPE_CHECKING:
    from tests.support.services import Kind

LATENCY: Final = 0.02  # seconds before each answer of the channel, as from a server on the same continent
_SERVER_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class Place:
    """A store that a run works with.

    Attributes:
        root: The store's root; `{scratch}` and `{run}` stand for the run's directory and its name.
        endpoint: Address of the service; None for a local store.
        environment: Variables with its credentials.
        pid: The server's process; None for a local store.
        setting: Which one has the service's address.
    """

    root: str
    endpoint: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    pid: int | None = None
    setting: str = "s3_endpoint_url"

    def named(self, name: str) -> Place:
        """Return the place that several runs share, instead of one for each."""
        return replace(self, root=self.root.replace("{run}", name))

    def settings(self, **others: object) -> dict[str, object]:
        """Return the settings of a run: this store, a node of its own, and others."""
        endpoint = {self.setting: self.endpoint} if self.endpoint else {}
        return {"store": self.root, "cache_dir": "{scratch}/node", **endpoint, **others}

    def contender(self, name: str, task: str, **arguments: object) -> Contender:
        """Return a worker on this store; its settings are those of the place unless others are given."""
        return Contender(name, worker(task, **{"settings": self.settings(), **arguments}), self.environment)


LOCAL: Final = Place("{scratch}/store")


class Bed:
    """Made once for a run of the benchmarks.

    Args:
        scratch: Empty directory.
        rounds: How often each contender runs.
        quick: Small inputs: to see that everything works, not to measure.
        say: Called with what happens.
    """

    def __init__(self, scratch: Path, *, rounds: int, quick: bool, say: Callable[[str], None]) -> None:
        self.scratch = scratch
        self.rounds = rounds
        self.quick = quick
        self.say = say
        self._servers = contextlib.ExitStack()
        self._remotes: dict[Kind, Place] = {}

    def inputs(self, name: str, ending: str = "") -> list[Archive]:
        """Return the packages of a set whose names end so; on a quick run those of its small one where there is one."""
        quick = f"{name.partition('-')[0]}-quick"
        archives = load(quick if self.quick and quick in RECIPES else name, self.say)
        return [archive for archive in archives if archive.path.name.endswith(ending)]

    def measure(
        self,
        *contenders: Contender,
        rounds: int | None = None,
        meter: Callable[[], Mapping[str, float]] = dict,
        together: bool = False,
    ) -> list[Series]:
        """Run every contender once a round, each in an empty directory of its own.

        Args:
            contenders: In the order in which each round runs them.
            rounds: Those of the bed when None.
            meter: Counters that only grow, such as a server's CPU seconds; what each run adds to them becomes part of
                its figures.
            together: As in `bench.harness.run_process`.

        Raises:
            ContenderError: One of them failed.
        """
        samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
        rounds = rounds or self.rounds
        for number in range(rounds):
            for contender in contenders:
                before = meter()
                sample = contender.run(self.scratch, together=together)
                grown = {name: value - before[name] for name, value in meter().items()}
                samples[contender.name].append(replace(sample, said={**sample.said, **grown}))
                self.say(
                    f"  round {number + 1}/{rounds}  {contender.name:<38} wall {sample.wall:7.2f} s"
                    f"  cpu {sample.cpu:7.2f} s  peak {sample.peak / 1e6:6.0f} MB"
                )
        return [Series(name, tuple(taken)) for name, taken in samples.items()]

    def run_once(self, task: str, place: Place | None = None, **arguments: object) -> Mapping[str, float]:
        """Run a worker that is not measured, on a place where one is given; return its figures."""
        one = place.contender(task, task, **arguments) if place else Contender(task, worker(task, **arguments))
        return one.run(self.scratch).said

    @contextlib.contextmanager
    def directory(self) -> Iterator[Path]:
        """Make a directory for the length of the block."""
        with tempfile.TemporaryDirectory(prefix="part-", dir=self.scratch, ignore_cleanup_errors=True) as name:
            yield Path(name)

    @contextlib.contextmanager
    def channel(self, archives: Sequence[Archive], *options: str) -> Iterator[tuple[str, int]]:
        """Serve a set of packages over HTTP on loopback, from a process of its own, `LATENCY` away.

        Yields:
            Its address and its process.
        """
        root = str(archives[0].path.parents[1])
        waiting = ("--latency", str(LATENCY), "--ttl", str(_SERVER_SECONDS))
        with serving("tests.support.fault_server", root, *waiting, *options) as server:
            yield server

    @contextlib.contextmanager
    def listed(self, archives: Sequence[Archive]) -> Iterator[str]:
        """Serve a set of packages; yield the list of them that a worker reads."""
        with self.directory() as directory, self.channel(archives) as (url, _pid):
            yield write_list([archive.address(url) for archive in archives], directory)

    def remote(self, kind: Kind) -> Place:
        """Return a container of a server, its data in memory, where each run gets a prefix of its own.

        The server (SeaweedFS, Azurite, or fake-gcs-server behind a proxy) runs in processes of its own. It starts when
        it is first asked for and runs until the bed is closed.
        """
        if kind not in self._remotes:
            started = serving("tests.support.services", kind, "bench", str(_SERVER_SECONDS))
            from tests.support.services import Service  # noqa: PLC0415 - the measuring process stays small

            service = Service(**json.loads(self._servers.enter_context(started)[0]))
            ((setting, endpoint),) = service.setting().items()
            place = Place(service.root("{run}"), endpoint, service.environment, service.pid, setting)
            self._remotes[kind] = place
        return self._remotes[kind]

    def s3(self) -> Place:
        """Return a bucket of an S3 server."""
        return self.remote("s3")

    def close(self) -> None:
        """Stop the servers."""
        self._servers.close()


def engine(name: str, place: Place, packages: str, task: str = "cache", **arguments: object) -> Contender:
    """Return the engine's work on a list of packages, on the event loop that the command line uses unless another is
    named.
    """
    return place.contender(name, f"engine_tasks.{task}", packages=packages, **{"loop": "uvloop", **arguments})


def write_list(entries: Sequence[Mapping[str, object]], directory: Path, name: str = "packages.json") -> str:
    """Write the list of packages that a worker reads and return its path."""
    path = directory / name
    path.write_text(json.dumps(list(entries)), encoding="utf-8")
    return str(path)


def cpu_meter(*pids: int) -> Callable[[], Mapping[str, float]]:
    """Return a meter of the CPU seconds that running servers have used together."""
    processes = [psutil.Process(pid) for pid in pids]
    return lambda: {"servers_cpu": sum(sum(process.cpu_times()[:2]) for process in processes)}
