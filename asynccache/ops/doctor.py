"""Looking at this machine and the store before something fails: each finding says what to do."""

from __future__ import annotations

import bz2
import os
import platform
import random
import resource
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from asynccache.archive.bzip2_read import choose
from asynccache.engine.engine import Engine
from asynccache.errors import AsyncCacheError, StoreError
from asynccache.model.digest import Digests, Hasher, digest_file

Level = Literal["ok", "warning", "failure"]
_PROBE_BYTES: Final = 16 << 20
_TOOLS: Final = {
    "micromamba": "only needed when you set it as resolver",
    "mamba": "only needed when you set it as resolver",
    "conda": "only needed when you set it as resolver",
    "uv": "installs wheels fastest; `pip install uv`",
    "cph": "part of conda-package-handling; only used to compare with",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What.
        level: `ok`, `warning` (works, but worse than it could) or `failure`.
        text: What was found.
        advice: What to do about it; empty when there is nothing to do.
    """

    subject: str
    level: Level
    text: str
    advice: str = ""

    def as_document(self) -> dict[str, str]:
        """Return the finding as plain values."""
        return {"subject": self.subject, "level": self.level, "text": self.text, "advice": self.advice}


@dataclass(frozen=True, slots=True)
class Examination:
    """All that was looked at.

    Attributes:
        findings: In the order in which they were made.
    """

    findings: tuple[Finding, ...]

    def raise_for_failures(self) -> None:
        """Raise when something fails that a run needs.

        Raises:
            StoreError: What.
        """
        failed = [finding.subject for finding in self.findings if finding.level == "failure"]
        if failed:
            raise StoreError(f"{len(failed)} checks failed: {', '.join(failed)}", hint="follow the advice above")

    def as_document(self) -> dict[str, object]:
        """Return the findings as plain values."""
        return {"findings": [finding.as_document() for finding in self.findings]}


async def examine(engine: Engine, found: Callable[[Finding], None] | None = None) -> Examination:
    """Look at everything that a run depends on.

    Args:
        engine: An open engine.
        found: Told of each finding as it is made.
    """
    findings: list[Finding] = []

    def note(subject: str, level: Level, text: str, advice: str = "") -> None:
        findings.append(Finding(subject, level, text, advice))
        if found is not None:
            found(findings[-1])

    _interpreter(note)
    await engine.threads.run(_tools, note)
    await _cpu(engine, note)
    await _disk(engine, note)
    await _store(engine, note)
    return Examination(tuple(findings))


Note = Callable[..., None]


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


async def _cpu(engine: Engine, note: Note) -> None:
    block = random.Random(1).randbytes(1 << 16) * 8 + bytes(range(256)) * 8192  # noqa: S311 - sample data

    def measure(work: Callable[[bytes], object], data: bytes, size: int) -> float:
        started = time.perf_counter()
        work(data)
        return size / (time.perf_counter() - started) / 1e6

    def sha256(data: bytes) -> None:
        hasher = Hasher("sha256")
        for _ in range(16):
            hasher.update(data)

    hashing = await engine.threads.work(lambda _stop: measure(sha256, block, 16 * len(block)))
    packed = bz2.compress(block)
    decoding = await engine.threads.work(lambda _stop: measure(bz2.decompress, packed, len(block)))
    note(
        "cpu",
        "ok",
        f"{engine.settings.cpu_slots} cores in use; sha256 {hashing:.0f} MB/s, bz2 {decoding:.0f} MB/s per core, "
        f"decoder {choose(1 << 30)}",
    )


async def _disk(engine: Engine, note: Note) -> None:
    path = engine.workspace.path

    def measure() -> tuple[float, int]:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".doctor-{os.getpid()}"
        data = os.urandom(1 << 20)
        try:
            started = time.perf_counter()
            with probe.open("wb") as file:
                for _ in range(_PROBE_BYTES >> 20):
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())
            return _PROBE_BYTES / (time.perf_counter() - started) / 1e6, shutil.disk_usage(path).free
        finally:
            probe.unlink(missing_ok=True)

    try:
        speed, free = await engine.threads.run(measure)
    except OSError as exc:
        note("disk", "failure", f"{path} cannot be written ({exc.strerror})", "set cache_dir to a writable place")
        return
    low = free < 2 << 30
    advice = "free some space or set cache_dir to a larger disk" if low else ""
    note("disk", "warning" if low else "ok", f"{path}: {speed:.0f} MB/s written, {free / 1e9:.1f} GB free", advice)


async def _store(engine: Engine, note: Note) -> None:
    store, name = engine.store, f"asynccache/doctor/{os.getpid()}-{time.time_ns()}"
    path = engine.workspace.path / f".doctor-{os.getpid()}-store"
    try:
        started = time.perf_counter()
        await store.list_page(engine.settings.packages_dirname + "/", limit=1)
        latency = time.perf_counter() - started
        note("store", "ok", f"{store.address} can be listed, first answer after {latency * 1000:.0f} ms")
        data = os.urandom(_PROBE_BYTES // 2)
        await engine.threads.run(path.write_bytes, data)
        digests: Digests = await engine.threads.run(digest_file, str(path), "sha256", "md5")
        try:
            started = time.perf_counter()
            await store.upload(name, path, digests)
            written = len(data) / (time.perf_counter() - started) / 1e6
            started = time.perf_counter()
            await store.download(name, path, size=len(data))
            read = len(data) / (time.perf_counter() - started) / 1e6
            back: Digests = await engine.threads.run(digest_file, str(path), "sha256")
            digests.check(back, f"what was read back from {store.address}")
            note(
                "store speed", "ok", f"one object of 8 MiB: written {written:.0f} MB/s, read {read:.0f} MB/s, verified"
            )
        finally:
            await store.delete(name)
            await engine.threads.run(path.unlink, missing_ok=True)
        if (await store.capabilities()).conditional_put:
            note("store conditions", "ok", "conditional writes are honoured: concurrent writers are safe")
        else:
            note(
                "store conditions",
                "warning",
                "conditional writes are ignored",
                "aliases cannot be created atomically here; use a store that honours If-None-Match",
            )
    except AsyncCacheError as exc:
        note("store", "failure", str(exc), exc.hint or "check the address and your credentials")
