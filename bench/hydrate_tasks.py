"""What the workers of the hydration cases do: fill a store with a data-science environment, and hydrate it."""

from __future__ import annotations

import asyncio
import importlib
import json
import multiprocessing
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from asynccache.api import Session
from asynccache.config import Settings
from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.hydrate import hydrate as hydrating
from asynccache.hydrate.from_pack import from_pack
from asynccache.hydrate.tree import link_tree
from asynccache.model.package import Format
from asynccache.ops.naming import read_document
from asynccache.ops.node_supplies import vouched_derived
from bench.task import Figures, Work

WHEELS: Final = ("scipy", "matplotlib")
VOUCHED: Final = "vouched.json"  # beside the document
_BEGIN_SECONDS: Final = 60.0  # until all processes have started


async def fill(settings: Settings, out: str, *, quick: bool, wanted: str | None = ".conda", given: str = "") -> Figures:
    """Put the environment's packages into the store; write its document, the wheels, and an archive of it all.

    Args:
        settings: Of the store.
        out: Existing directory for what is written.
        quick: Whether a small environment without wheels will do.
        wanted: Form of the conda packages in the store; None for the published one.
        given: Directory of wheels to take instead of those of `WHEELS`.
    """
    from tests.support.channel import cached_channel, download_wheels  # noqa: PLC0415
    from tests.support.hydration import cached, packages_of  # noqa: PLC0415
    from tests.support.python_package import describe_interpreter  # noqa: PLC0415
    from tests.support.testdata import REPOSITORY  # noqa: PLC0415

    channel = cached_channel("small" if quick else "full")
    conda = [p.path for p in channel.one_format() if not p.name.startswith("feature-")]
    directory = Path(out)
    wheels: list[Path] = []
    if not quick:
        kept = Path(given) if given else REPOSITORY / ".cache" / "wheels-bench"
        kept.mkdir(parents=True, exist_ok=True)
        if not given and not any(kept.glob("scipy-*.whl")):
            download_wheels(WHEELS, kept, describe_interpreter(sys.executable))
        names = {p.name.replace("-", "_").lower() for p in channel.packages}
        wheels = [w for w in sorted(kept.glob("*.whl")) if w.name.partition("-")[0].lower() not in names]
    (directory / "wheels").mkdir()
    for wheel in wheels:
        shutil.copy(wheel, directory / "wheels")
    async with Engine(settings) as engine:
        environment = await cached(engine, packages_of([*conda, *wheels]), wanted=Format(wanted) if wanted else None)
        vouched = await vouched_derived(engine.host, engine.sources, [environment])
        (directory / VOUCHED).write_text(json.dumps(vouched[environment.id]), encoding="utf-8")
        bare = replace(settings, cache_dir=directory / "archiving")
        async with Engine(bare, store=engine.store) as other:
            tree = await link_tree(other.host, other.sources, environment, directory / "tree", str(directory / "tree"))
    document = {"env_id": environment.id.as_list(), **environment.as_document()}
    (directory / "env.json").write_text(json.dumps(document), encoding="utf-8")
    write_archive(directory / "tree", directory / "tree.tar.zst")
    shutil.rmtree(directory / "archiving")
    return {
        "packages": len(environment.packages),
        "wheels": len(wheels),
        "bytes": tree.bytes,
        "files": tree.files,
        "archive": (directory / "tree.tar.zst").stat().st_size,
    }


def write_archive(tree: Path, archive: Path) -> None:
    """Put a directory into one archive; remove the directory."""
    subprocess.run(["sh", "-c", f"tar -C {tree} -cf - . | zstd -q -3 -T2 -o {archive}"], check=True)
    shutil.rmtree(tree)


async def archive_of_pack(settings: Settings, document: str, archive: Path) -> None:
    """Put what an environment's pack becomes on a node that has none of its packages into one archive."""
    tree = archive.with_name("packed-tree")
    async with Session(replace(settings, cache_dir=archive.with_name("packed-node"))) as session:
        made = await session.create(document, tree)
    if not made.hydrated.packed:
        raise RuntimeError("the pack was not used")
    write_archive(tree, archive)
    shutil.rmtree(archive.with_name("packed-node"))


async def pack(settings: Settings, document: str, archive: str | None = None) -> Figures:
    """Make the environment's pack, and an archive of what it becomes."""
    async with Session(settings) as session:
        (made,) = await session.pack(document)
    if archive is not None:
        await archive_of_pack(settings, document, Path(archive))
    return {"size": made.size, "seconds": made.seconds, "files": made.files, "bytes": made.raw_bytes}


async def hydrate(settings: Settings, document: str, prefix: str, *, run: bool = True, packed: bool = False) -> Figures:
    """Hydrate, and start the environment's Python."""
    environment = read_document(Path(document), None)
    seen: list[events.Event] = []
    # a submitter passes nodes the derived archives they may use; otherwise they take the published ones
    vouched: list[str] = json.loads(Path(document).with_name(VOUCHED).read_text("utf-8"))
    async with Engine(replace(settings, derived_digests=vouched), emit=seen.append) as engine:
        sent, started = engine.store.requests, time.perf_counter()
        done = await hydrating.hydrate(
            engine.host, engine.sources, environment, Path(prefix), packed=from_pack if packed else None
        )
        ended = time.perf_counter()
        requests = engine.store.requests - sent
        if done.packed != packed:
            raise RuntimeError("the pack was not used")
        if run:
            subprocess.run([done.python, "-I", "-c", "pass"], check=True)  # noqa: ASYNC221 - nothing else runs
    linked = sum(e.seconds for e in seen if isinstance(e, events.Linked))
    return {
        "run_wall": time.perf_counter() - started,
        "hydrate_wall": ended - started,
        "link_wall": linked,
        "store_requests": requests,
        "fetched": sum(e.bytes for e in seen if isinstance(e, events.Fetched)),
    }


def many(settings: Settings, document: str, prefix: str, *, count: int) -> Work:
    """Hydrate one prefix from several processes that begin at the same moment, their imports done."""
    importlib.import_module("aiohttp")
    return lambda: _forked(settings, document, prefix, count)


def _forked(settings: Settings, document: str, prefix: str, count: int) -> Figures:
    context = multiprocessing.get_context("fork")
    begin, fetched = context.Barrier(count + 1), context.SimpleQueue()

    def one() -> None:
        begin.wait(_BEGIN_SECONDS)
        fetched.put(asyncio.run(hydrate(settings, document, prefix, run=False))["fetched"])

    children = [context.Process(target=one) for _ in range(count)]
    for child in children:
        child.start()
    begin.wait(_BEGIN_SECONDS)
    started = time.perf_counter()
    for child in children:
        child.join()
    if any(child.exitcode for child in children):
        raise RuntimeError("a process failed")
    return {"run_wall": time.perf_counter() - started, "fetched": sum(fetched.get() for _ in children)}
