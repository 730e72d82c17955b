"""Checking this machine and the store before something fails: each finding says what to do."""

from __future__ import annotations

import bz2
import importlib.util
import os
import platform
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from asynccache.archive.bzip2_read import choose
from asynccache.errors import DiskError, StoreError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Hasher
from asynccache.model.document import Documented
from asynccache.node.other_extension import DISTRIBUTION, ROOT, other_extension
from asynccache.ops.doctor_store import Note, examine_store
from asynccache.ops.opening import Opening
from asynccache.runtime.late_loop import in_thread
from asynccache.runtime.tasks import outcome_of

Level = Literal["ok", "warning", "failure"]
_PROBE_BYTES: Final = 16 << 20
_ADVICE: Final = {
    "python": "install another Python",
    "tools": "check PATH",
    "metaflow": "install Metaflow again",
    "cpu": "run again; report it if it stays so",
    "disk": "set cache_dir to a writable place",
    "store": "check the address and your credentials",
}
_TOOLS: Final = {
    "micromamba": "only needed when you set it as resolver",
    "mamba": "only needed when you set it as resolver",
    "conda": "only needed when you set it as resolver",
    "uv": "installs wheels fastest; `pip install uv`",
    "cph": "part of conda-package-handling; only used to compare with",
}


@dataclass(frozen=True, slots=True)
class Finding(Documented):
    """One thing that was checked.

    Attributes:
        subject: What was checked.
        level: `ok`, `warning` (works, but worse than it could) or `failure`.
        text: What was found.
        advice: What to do about it; empty if nothing.
    """

    subject: str
    level: Level
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Examination(Documented):
    """Everything that was checked.

    Attributes:
        findings: In the order in which they were made.
    """

    findings: tuple[Finding, ...]

    def raise_for_failures(self) -> None:
        """Raise if something that a run needs does not work.

        Raises:
            StoreError: The store does not work.
            DiskError: Only this machine has a failure.
        """
        failed = [finding.subject for finding in self.findings if finding.level == "failure"]
        if failed:
            kind = StoreError if any(subject.startswith("store") for subject in failed) else DiskError
            raise kind(f"{len(failed)} checks failed: {', '.join(failed)}", hint="follow the advice above")


async def examine(opening: Opening, found: Callable[[Finding], object] | None = None) -> Examination:
    """Check everything that a run depends on. A check that fails does not stop the others.

    No directory or bucket is created: a missing one is reported.

    Args:
        opening: Opens the store, which is one of the checks.
        found: Called with each finding as it is made.
    """
    findings: list[Finding] = []

    def note(subject: str, level: Level, text: str, advice: str = "") -> None:
        findings.append(Finding(subject, level, text, advice))

    settings = opening.settings
    checks: tuple[tuple[str, Callable[[], Awaitable[None]]], ...] = (
        ("python", lambda: in_thread(_interpreter, note)),
        ("tools", lambda: in_thread(_tools, note)),
        ("metaflow", lambda: in_thread(_other_extension, note)),
        ("cpu", lambda: in_thread(_cpu, settings.cpu_slots, note)),
        ("disk", lambda: in_thread(_disk, settings.cache_dir, note)),
        ("store", lambda: examine_store(opening, note)),
    )
    for subject, check in checks:
        reported = len(findings)
        failure = await outcome_of(check())
        if failure is not None:
            note(subject, "failure", str(failure).removesuffix(f"; {failure.hint}"), failure.hint or _ADVICE[subject])
        if found is not None:  # not by `note`, which threads call
            for finding in findings[reported:]:
                found(finding)
    return Examination(tuple(findings))


def _interpreter(note: Note) -> None:
    note("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    try:
        note("uvloop", "ok", version("uvloop"))
    except PackageNotFoundError:
        note("uvloop", "warning", "not installed", "`pip install uvloop` makes TLS uploads a little faster")
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 512:
        note("open files", "warning", f"limit {soft}", "`ulimit -n 4096` before large runs")
    else:
        note("open files", "ok", f"limit {soft}")


def _tools(note: Note) -> None:
    for name, advice in _TOOLS.items():
        beside = Path(sys.executable).with_name(name)
        path = shutil.which(name) or (str(beside) if beside.exists() else None)
        note(name, "ok", path or f"not found: {advice}")


def _other_extension(note: Note) -> None:
    found = importlib.util.find_spec(ROOT)
    place = other_extension((found.submodule_search_locations if found else None) or ())
    if place is not None:
        here = "its own modules answer under its import paths; decorators, environments and commands are asynccache's"
        note("metaflow", "ok", f"{DISTRIBUTION} is installed as well ({place}): {here}")


def _cpu(cores: int, note: Note) -> None:
    block = random.Random(1).randbytes(1 << 16) * 8 + bytes(range(256)) * 8192  # noqa: S311 - sample data

    def measure(work: Callable[[bytes], object], data: bytes, size: int) -> float:
        started = time.perf_counter()
        work(data)
        return size / (time.perf_counter() - started) / 1e6

    def sha256(data: bytes) -> None:
        hasher = Hasher("sha256")
        for _ in range(16):
            hasher.update(data)

    hashing = measure(sha256, block, 16 * len(block))
    packed = bz2.compress(block)
    decoding = measure(bz2.decompress, packed, len(block))
    note(
        "cpu",
        "ok",
        f"{cores} cores in use; sha256 {hashing:.0f} MB/s, bz2 {decoding:.0f} MB/s per core, decoder {choose(1 << 30)}",
    )


def _disk(path: Path, note: Note) -> None:
    there = next(place for place in (path, *path.parents) if os.path.lexists(place))
    try:
        free = shutil.disk_usage(there).free
        text = f"{free / 1e9:.1f} GB free"
        if there == path:
            text = f"{path}: {_written(path):.0f} MB/s written, {text}"
        else:
            with tempfile.TemporaryFile(dir=there):  # whether the user may, without creating the directory
                text = f"{path} is made by the first command that needs it, {text}"
    except OSError as exc:
        hint = "set cache_dir to a writable place"
        raise DiskError(f"{path} cannot be written ({there}: {exc.strerror or exc})", hint=hint) from exc
    low = free < 2 << 30
    note("disk", "warning" if low else "ok", text, "free some space or set cache_dir to a larger disk" if low else "")


def _written(directory: Path) -> float:
    """Return how fast a file is written, in MB/s."""
    data = os.urandom(1 << 20)
    with tempfile.TemporaryFile(dir=directory) as file:
        started = time.perf_counter()
        for _ in range(_PROBE_BYTES >> 20):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
        return _PROBE_BYTES / (time.perf_counter() - started) / 1e6
