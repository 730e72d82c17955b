"""What a case has to work with: inputs, a scratch directory, servers, how many rounds, and how to say what happens."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.harness import REPOSITORY, Contender, ContenderError, Series, measure, run_process, worker
from bench.inputs import RECIPES, Archive, load

LATENCY: Final = 0.02  # seconds before each answer of the channel, as from a server on the same continent
_SERVER_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        url: Where it answers.
        pid: Its process.
    """

    url: str
    pid: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run publishes.

    Attributes:
        root: The store's root; `{scratch}` and `{run}` stand for the run's directory and its name.
        endpoint: Address of the S3 server; None for a local store.
        environment: Variables with its credentials.
        pid: The server's process; None for a local store.
    """

    root: str
    endpoint: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    pid: int | None = None


class Bed:
    """Made once for a run of the benchmarks.

    Args:
        scratch: Empty directory.
        rounds: How often each contender runs.
        quick: Small inputs: to see that everything works, not to measure.
        tell: Told of what happens.
    """

    def __init__(self, scratch: Path, *, rounds: int, quick: bool, tell: Callable[[str], None]) -> None:
        self.scratch = scratch
        self.rounds = rounds
        self.quick = quick
        self.tell = tell
        self._servers = contextlib.ExitStack()
        self._s3: Place | None = None

    def inputs(self, name: str) -> list[Archive]:
        """Return a set of packages, the small one of that name on a quick run where there is one."""
        quick = f"{name.partition('-')[0]}-quick"
        return load(quick if self.quick and quick in RECIPES else name, self.tell)

    def measure(
        self,
        contenders: Sequence[Contender],
        *,
        rounds: int | None = None,
        meter: Callable[[], Mapping[str, float]] | None = None,
        together: bool = False,
    ) -> list[Series]:
        """Run contenders in turn (see `bench.harness.measure`)."""
        return measure(contenders, rounds or self.rounds, self.scratch, meter=meter, together=together, tell=self.tell)

    def run_once(self, task: str, place: Place | None = None, **arguments: object) -> Mapping[str, float]:
        """Run a worker that is not measured, with the credentials of a place; return its figures."""
        with self.directory() as directory:
            environment = place.environment if place else {}
            return run_process(worker(task, **arguments)(directory), directory, environment).said

    @contextlib.contextmanager
    def directory(self) -> Iterator[Path]:
        """Make a directory for the length of the block."""
        with tempfile.TemporaryDirectory(prefix="part-", dir=self.scratch, ignore_cleanup_errors=True) as name:
            yield Path(name)

    def write_list(self, entries: Sequence[Mapping[str, object]], directory: Path, name: str = "packages.json") -> str:
        """Write the list of packages that a worker reads and return its path."""
        path = directory / name
        path.write_text(json.dumps(list(entries)), encoding="utf-8")
        return str(path)

    @contextlib.contextmanager
    def channel(self, archives: Sequence[Archive], *options: str) -> Iterator[Server]:
        """Serve a set of packages over HTTP on loopback, from a process of its own, `LATENCY` away."""
        root = archives[0].path.parents[1]
        command = [sys.executable, "-m", "tests.support.fault_server", str(root), "--latency", str(LATENCY)]
        command += ["--ttl", str(_SERVER_SECONDS), *options]
        with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                url = process.stdout.readline().strip()
                if not url:
                    raise ContenderError("the channel's server did not start")
                yield Server(url, process.pid)
            finally:
                process.kill()

    def s3(self) -> Place:
        """Return a bucket of an S3 server (SeaweedFS, its data in memory), where each run gets a prefix of its own.

        The server starts when it is first asked for and runs until the bed is closed.
        """
        if self._s3 is None:
            from tests.support.object_servers import weed_server  # noqa: PLC0415 - most cases need no server

            try:
                server = self._servers.enter_context(weed_server())
            except RuntimeError as exc:
                raise ContenderError(str(exc)) from exc
            bucket = "bench"
            place = Place(f"s3://{bucket}/{{run}}", server.url, server.environment, server.pid)
            self.run_once("make-bucket", place, endpoint=server.url, bucket=bucket)
            self._s3 = place
        return self._s3

    def close(self) -> None:
        """Stop the servers."""
        self._servers.close()


def cpu_meter(pids: Mapping[str, int]) -> Callable[[], Mapping[str, float]]:
    """Return a meter of the CPU seconds of running processes, by name; empty where /proc does not say."""

    def read() -> dict[str, float]:
        seconds = {}
        for name, pid in pids.items():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
                seconds[name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return seconds

    return read
