"""Runs contenders in processes of their own, in turn, and keeps what the kernel says each of them cost.

A round runs every contender once, one after the other, so that whatever else the machine does meets all of them.
Wall time is taken from the start of the process to its end; CPU time and peak memory are those that `wait4` returns,
which include the interpreter's start and every child that the process waited for. Nothing is subtracted: a worker
says how much of its CPU time had gone by when the work began, and that is shown beside.

Linux counts the memory of the process that starts another one into the peak of the new one, so the process that
measures must stay smaller than what it measures: it imports the standard library and psutil only, and leaves the making
of inputs to others. `floor_bytes()` is what no measured peak can be below.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]

REPOSITORY: Final = Path(__file__).resolve().parents[1]
RUN_SECONDS: Final = 900.0  # limit of one contender's one run
_LOOK: Final = 0.03  # seconds between two looks at a process's memory
_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024  # bytes per unit of ru_maxrss
_STDERR_LINES: Final = 5
_SETTINGS: Final = ("ASYNCCACHE_", "METAFLOW_")  # beginnings of variables that settings are read from


class ContenderError(Exception):
    """A contender failed or did not end; the message has the last lines it wrote."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one contender.

    Attributes:
        wall: Seconds from start to end of the process.
        cpu: User and system seconds of the process and its children.
        peak: Largest resident memory in bytes: of the largest of its processes, or of all together where that was
            asked for.
        said: What the worker itself measured, by name.
    """

    wall: float
    cpu: float
    peak: int
    said: Mapping[str, float] = field(default_factory=dict)

    def value(self, metric: str) -> float | None:
        """Return `wall`, `cpu`, `peak` or what the worker said by that name; None if it said nothing of it."""
        if metric in {"wall", "cpu", "peak"}:
            return float(getattr(self, metric))
        return self.said.get(metric)


@dataclass(frozen=True, slots=True)
class Contender:
    """Something to be measured.

    Attributes:
        name: As it is shown.
        command: Program and arguments. In them `{scratch}` becomes the run's directory, empty at first, and `{run}`
            that directory's name, which no other run has.
        environment: Variables to add. A worker finds the path for its own figures in `ASYNCCACHE_BENCH_RESULT`.
        prepare: Given the run's directory, fills it; that is not measured.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], object] = lambda _run: None

    def run(self, scratch: Path, *, together: bool = False) -> Sample:
        """Run it once, in a directory of its own below `scratch` that is removed afterwards (see `run_process`)."""
        directory = Path(tempfile.mkdtemp(prefix="run-", dir=scratch))
        try:
            self.prepare(directory)
            words = [w.replace("{scratch}", str(directory)).replace("{run}", directory.name) for w in self.command]
            return run_process(words, directory, self.environment, together=together)
        finally:
            shutil.rmtree(directory, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Series:
    """All runs of one contender, in order of the rounds."""

    name: str
    samples: tuple[Sample, ...]

    def values(self, metric: str) -> list[float]:
        """Return a metric of every round that has it."""
        return [value for sample in self.samples if (value := sample.value(metric)) is not None]

    def median(self, metric: str) -> float:
        """Return the median of a metric over the rounds."""
        return statistics.median(self.values(metric))


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times more one contender needs than another.

    Attributes:
        value: Ratio of the medians.
        least: Smallest ratio within one round.
        most: Largest ratio within one round.
    """

    value: float
    least: float
    most: float


def ratio(of: Series, to: Series, metric: str) -> Ratio:
    """Compare two contenders that ran in the same rounds."""
    pairs = [a / b for a, b in zip(of.values(metric), to.values(metric), strict=True)]
    return Ratio(of.median(metric) / to.median(metric), min(pairs), max(pairs))


def without(of: Series, base: Series) -> Series:
    """Return the runs of a contender less the seconds of another one that did a part of its work in the same rounds."""
    pairs = zip(of.samples, base.samples, strict=True)
    return Series(of.name, tuple(Sample(a.wall - b.wall, a.cpu - b.cpu, a.peak) for a, b in pairs))


def floor_bytes() -> int:
    """Return this process's own peak memory: a measured peak cannot be below it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT


def scratch_directory() -> Path:
    """Make a new directory for a run of the benchmarks: in memory where there is room, else a new one on disk.

    Files that are created in a directory with a long history can cost many times what they cost in a new one (measured
    on ext4), so none of the measurements writes into one.
    """
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 6 << 30
    return Path(tempfile.mkdtemp(prefix="asynccache-bench-", dir=memory if roomy else None))


def run_process(
    command: Sequence[str],
    directory: Path,
    environment: Mapping[str, str] | None = None,
    *,
    limit: float = RUN_SECONDS,
    together: bool = False,
) -> Sample:
    """Run a command to its end and return what it cost.

    Args:
        command: Program and arguments.
        directory: Where its output and figures go; must exist.
        environment: Variables to add.
        limit: Seconds after which it is killed.
        together: Whether the peak is that of the process and its children together, which is sampled.

    Raises:
        ContenderError: It ended with an error or was killed.
    """
    said_path, output_path = directory / "said.json", directory / "output.txt"
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)},
        "XDG_CONFIG_HOME": str(directory),  # no user's own settings change what is measured
        "METAFLOW_HOME": str(directory),
        **(environment or {}),
        "ASYNCCACHE_BENCH_RESULT": str(said_path),
    }
    with output_path.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(  # its own session, so that what it started can be ended with it
            command, cwd=REPOSITORY, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        timer = threading.Timer(limit, _kill_session, [process.pid])
        timer.start()
        try:
            with _watched(process.pid) if together else contextlib.nullcontext([0]) as peaks:
                _pid, status, usage = os.wait4(process.pid, 0)
                wall = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            timer.cancel()
            if process.returncode is None:
                _kill_session(process.pid)
                process.wait()
    if process.returncode != 0:
        tail = " / ".join(output_path.read_text("utf-8", "replace").strip().splitlines()[-_STDERR_LINES:])
        reason = f"after its limit of {limit:.0f} seconds" if wall >= limit else f"with code {process.returncode}"
        raise ContenderError(f"`{' '.join(command)[:200]}` ended {reason}: {tail or 'it wrote nothing'}")
    said = json.loads(said_path.read_text("utf-8")) if said_path.exists() else {}
    peak = max(usage.ru_maxrss * _RSS_UNIT, *peaks)
    return Sample(wall, usage.ru_utime + usage.ru_stime, peak, said)


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[list[int]]:
    """Sample the memory of a process and its children together, pages that they share counted for each, for the length
    of the block: `wait4` reports only the largest of them. The peak is in the list, in bytes.
    """
    peaks = [0]
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(_LOOK):
            total = 0
            with contextlib.suppress(psutil.NoSuchProcess):  # one has ended meanwhile
                first = psutil.Process(pid)
                for process in (first, *first.children(recursive=True)):
                    total += process.memory_info().rss
            peaks[0] = max(peaks[0], total)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        stop.set()
        thread.join()


def _kill_session(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it has ended meanwhile


def worker(task: str, **arguments: object) -> list[str]:
    """Return the command of a Python worker (see `bench.worker`)."""
    return [sys.executable, "-m", "bench.worker", task, json.dumps(arguments)]


def asynccache(*words: str) -> list[str]:
    """Return a command line of asynccache."""
    return [sys.executable, "-c", "from asynccache_cli.main import main; main()", *words]


@contextlib.contextmanager
def serving(module: str, *arguments: str) -> Iterator[tuple[str, int]]:
    """Run a server in a process of its own for the length of the block; yield its first line and its process.

    Args:
        module: Run as a program; it writes its address, or what else there is to know, as the first line.
        arguments: For the program.

    Raises:
        ContenderError: It did not start.
    """
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline().strip() if process.stdout else ""
            if not said:
                raise ContenderError(f"the server {module} did not start")
            yield said, process.pid
        finally:
            process.terminate()
