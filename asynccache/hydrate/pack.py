"""Packed environments: one relocatable object per environment and architecture, made from packages.

The packages are linked into a directory with a placeholder as prefix; Python files are compiled; what is there becomes
frames and an index as asynccache/node/pack_format.py describes. The same packages, tools and level give the same bytes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from asynccache import __version__
from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.engine.verified import Verified
from asynccache.errors import DiskError, PreconditionFailedError
from asynccache.hydrate.bytecode import compile_tree, python_version
from asynccache.hydrate.pack_compare import compare_pack
from asynccache.hydrate.pack_find import Packed, find_pack, pack_key
from asynccache.hydrate.pack_write import plan_pack, write_pack
from asynccache.hydrate.tree import link_scripts, link_tree
from asynccache.model.digest import digest_file
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.platform import current_architecture
from asynccache.node import pack_format as packs
from asynccache.node.disk import disk_errors
from asynccache.runtime.scratch import scratch_directory

LEVEL = 9  # of zstd: read far more often than written, and higher ones cost minutes
_VOUCHED = "packs"  # of what this machine remembers: digest and environment -> how it was compared; empty if made here


async def pack(engine: Engine, environment: ResolvedEnvironment, *, force: bool = False, level: int = LEVEL) -> Packed:
    """Make the pack of an environment and put it into the store, unless it is there.

    One that is there is returned when this machine made it, or compared it with what the packages give, now or before:
    whoever calls may name its digest to others.

    Args:
        engine: An open engine on the store.
        environment: Of any architecture.
        force: Make it anew.
        level: Of zstd, from 1 to 22.

    Raises:
        FetchError: A package that no source has.
        HydrationError: A package that cannot be linked with the placeholder.
        DiskError: The disk is full or cannot be written.
        IntegrityError: What is there holds something else than the packages give.
        StoreError: The store cannot be written.
    """
    started = engine.clock.now()
    key = pack_key(environment.id, engine.settings.envs_dirname)
    async with engine.workspace.locks.hold(
        f"pack-{environment.id.full_id}-{environment.id.arch}", label=f"the pack of {environment.id}"
    ):
        there = None if force else await find_pack(engine, environment.id)
        memory = Verified(engine.settings.cache_dir)
        known = await engine.threads.run(memory.known, _VOUCHED)
        compared = None if there is None else known.get(f"{there.digest} {environment.id}")
        if there is None or compared is None:
            engine.emit(events.PackStarted(str(environment.id), environment.id.arch))
            there = await _made(engine, environment, key, there, force=force, level=level)
            compared = there.compared
            await engine.threads.run(memory.add, _VOUCHED, [(f"{there.digest} {environment.id}", compared)])
            took = engine.clock.now() - started
            engine.emit(events.PackEnded(str(environment.id), environment.id.arch, there.size, took))
    return replace(there, seconds=engine.clock.now() - started, compared=compared)


async def _made(
    engine: Engine, environment: ResolvedEnvironment, key: str, there: Packed | None, *, force: bool, level: int
) -> Packed:
    """Make the pack, or find that the one that is there is what would be made."""
    settings, threads = engine.settings, engine.threads
    async with scratch_directory("pack-", engine.workspace.path) as scratch:
        tree = scratch / "tree"
        linked = await link_tree(engine, environment, tree, packs.PREFIX, copy=True)
        notes = list(linked.notes)
        version = await threads.run(python_version, tree)
        bytecode = None
        async with engine.budgets.cpu.borrow_up_to(settings.cpu_slots) as cores:
            if version is not None:
                native = environment.id.arch == current_architecture()
                reason = await threads.run(compile_tree, tree, version, native, settings.package_timeout, cores)
                bytecode = version if reason is None else None
                notes += [] if reason is None else [reason]
            about: dict[str, object] = {
                "format": packs.VERSION,
                "made_by": f"asynccache {__version__}",
                "env": environment.id.as_list(),
                "prefix": packs.PREFIX,
                "bytecode": bytecode,
                "notes": notes,
                "link_scripts": [[name, str(path)] for name, path in link_scripts(environment, tree)],
            }
            path = scratch / packs.OBJECT_NAME
            with disk_errors(tree):
                planned = await threads.run(plan_pack, tree)

            async def same(found: Packed) -> Packed:
                return replace(found, compared=await compare_pack(engine, environment.id, planned, about, scratch))

            if there is not None:
                return await same(there)
            index = await threads.work(
                lambda stop: write_pack(planned, path, about, level=level, threads=cores, stop=stop)
            )
        size = path.stat().st_size
        digests = await threads.run(digest_file, str(path), "md5", "sha256")
        digest = (await threads.run(_footer, path, size)).digest
        try:
            await engine.store.upload(key, path, digests, if_absent=not force, consume=True)
        except PreconditionFailedError:
            there = await find_pack(engine, environment.id)
            if there is not None:
                return await same(there)
            await engine.store.upload(key, path, digests, if_absent=False, consume=True)  # over a damaged one
        return Packed(
            environment.id, key, True, size, digest, index.raw_bytes, len(index.files), bytecode, tuple(notes), 0.0
        )


def _footer(path: Path, size: int) -> packs.Footer:
    try:
        with path.open("rb") as file:
            file.seek(size - packs.FOOTER_BYTES)
            return packs.Footer.parse(file.read(), size)
    except OSError as exc:
        raise DiskError(f"{path} cannot be read ({exc.strerror})") from exc
