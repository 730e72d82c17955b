"""Packed environments: one relocatable object per environment and architecture, built from packages.

The packages are linked into a directory with a placeholder as prefix; Python files are compiled; the result is stored
as frames and an index as asynccache/node/pack_format.py describes. The same packages, tools and level give the same
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from asynccache import __version__
from asynccache.engine import events
from asynccache.engine.host import Host
from asynccache.engine.sources import Sources
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

LEVEL = 3  # zstd level: docs/packed-environments.md says what others cost and save
_VOUCHED = "packs"  # digest and environment -> how the pack was compared; empty if this machine built it


async def pack(
    host: Host, sources: Sources, environment: ResolvedEnvironment, *, force: bool = False, level: int = LEVEL
) -> Packed:
    """Build the pack of an environment and put it into the store, unless it exists.

    An existing one is returned only if this machine built it, has compared it with the packages, now or before, or a
    digest of the environment names it: so the caller may pass its digest on.

    Args:
        host: Settings, threads and budgets to work with.
        sources: The store, and upstream.
        environment: An environment for any architecture.
        force: Build it even if one exists.
        level: zstd level, from 1 to 22.

    Raises:
        FetchError: No source has a package.
        HydrationError: A package cannot be linked with the placeholder.
        DiskError: The disk is full or cannot be written.
        IntegrityError: The existing pack differs from what the packages give.
        StoreError: The store cannot be written.
    """
    started = host.clock.now()
    key = pack_key(environment.id, host.settings.envs_dirname)
    async with host.workspace.locks.hold(
        f"pack-{environment.id.full_id}-{environment.id.arch}", label=f"the pack of {environment.id}"
    ):
        there = None if force else await find_pack(sources.store, environment.id, host.settings.envs_dirname)
        memory = await host.threads.run(Verified.own, host.settings.cache_dir)
        known = await host.threads.run(memory.known, _VOUCHED)
        compared = None if there is None else _vouched(environment, there, known)
        if there is None or compared is None:
            host.emit(events.PackStarted(str(environment.id), environment.id.arch))
            there = await _made(host, sources, environment, key, there, force=force, level=level)
            compared = there.compared
            await host.threads.run(memory.add, _VOUCHED, [(f"{there.digest} {environment.id}", compared)])
            took = host.clock.now() - started
            host.emit(events.PackEnded(str(environment.id), environment.id.arch, there.size, took))
    return replace(there, seconds=host.clock.now() - started, compared=compared, vouched=True)


def with_vouch(environment: ResolvedEnvironment, found: Packed, cache_dir: Path) -> Packed:
    """Return a pack that was found, with whether it is vouched for. Blocking."""
    compared = _vouched(environment, found, Verified.own(cache_dir).known(_VOUCHED))
    return found if compared is None else replace(found, compared=compared, vouched=True)


def _vouched(environment: ResolvedEnvironment, found: Packed, known: Mapping[str, str]) -> str | None:
    """Return how a pack was compared, empty if this machine built it; None if it is not vouched for."""
    if environment.digest is not None and environment.digest.pack == found.digest:
        return "whole"
    return known.get(f"{found.digest} {environment.id}")


async def _made(
    host: Host,
    sources: Sources,
    environment: ResolvedEnvironment,
    key: str,
    there: Packed | None,
    *,
    force: bool,
    level: int,
) -> Packed:
    """Build the pack, or find that the existing one equals it."""
    settings, threads = host.settings, host.threads
    async with scratch_directory("pack-", host.workspace.path) as scratch:
        tree = scratch / "tree"
        linked = await link_tree(host, sources, environment, tree, packs.PREFIX)
        notes = list(linked.notes)
        version = await threads.run(python_version, tree)
        bytecode = None
        async with host.budgets.cpu.borrow_up_to(settings.cpu_slots) as cores:
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
                return replace(
                    found, compared=await compare_pack(host, sources.store, environment.id, planned, about, scratch)
                )

            if there is not None:
                return await same(there)
            index = await threads.work(
                lambda stop: write_pack(planned, path, about, level=level, threads=cores, stop=stop)
            )
        size = path.stat().st_size
        digests = await threads.run(digest_file, str(path), "md5", "sha256")
        digest = (await threads.run(_footer, path, size)).digest
        try:
            await sources.store.upload(key, path, digests, if_absent=not force, consume=True)
        except PreconditionFailedError:
            there = await find_pack(sources.store, environment.id, host.settings.envs_dirname)
            if there is not None:
                return await same(there)
            await sources.store.upload(key, path, digests, if_absent=False, consume=True)  # overwrites a damaged one
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
