"""Whether a pack in a store is what an environment's packages give.

It was built elsewhere, so its index is compared with that of a tree that was linked from verified packages on this
machine: every directory, link, file, mode, digest and change. When it is unpacked, each file is checked against that
index. Byte code that cannot be compiled on this machine (for another architecture) is left out of both.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from asynccache.boot.zstd import find_decompressor
from asynccache.engine.host import Host
from asynccache.errors import HydrationError, IntegrityError
from asynccache.hydrate.pack_find import pack_key
from asynccache.hydrate.pack_write import Planned, plan_pack
from asynccache.hydrate.unpack import pack_ranges
from asynccache.model.identity import EnvID
from asynccache.node import pack_reader as reader
from asynccache.node.disk import disk_errors
from asynccache.node.errors import PackUnusableError
from asynccache.node.pack_format import Index, damaged
from asynccache.store.base import Store

_ABOUT = ("env", "prefix", "link_scripts")  # what decides what a node does with the files


async def compare_pack(
    host: Host, store: Store, env_id: EnvID, planned: Planned, about: dict[str, Any], scratch: Path
) -> str:
    """Return how far a store's pack equals what the packages give: `whole`, or `sources` if its byte code differs.

    Args:
        host: Settings, threads and budgets to work with.
        store: The store with the pack.
        env_id: The environment.
        planned: What this machine would pack.
        about: What the index of that would contain besides files.
        scratch: A directory for the content of a pack of an older version, which is read whole.

    Raises:
        IntegrityError: It holds something else, or is damaged.
        StoreError: It cannot be read.
        HydrationError: This machine cannot decompress it.
    """
    key = pack_key(env_id, host.settings.envs_dirname)
    info = await store.head(key)
    decoder = find_decompressor()
    if info is None or decoder is None:
        raise HydrationError(f"{key} cannot be read", hint="install backports.zstd" if decoder is None else None)
    ranges = pack_ranges(store, key, info.size, host.settings.package_timeout)

    def run(stop: Callable[[], bool]) -> str:
        planned.read(stop)
        index = reader.read_index(ranges, decoder[1], identity=(env_id.req_id, env_id.full_id, env_id.arch))
        if not all(file.sha256 for file in index.files):
            index = _unpacked(index, scratch / "theirs", stop)
        return _compared(index, planned.index(about, []))

    def _unpacked(index: Index, target: Path, stop: Callable[[], bool]) -> Index:
        target.mkdir()
        with disk_errors(target):
            reader.unpack(ranges, index, decoder[1], str(target), str(index.about["prefix"]))
            theirs = plan_pack(target)
            theirs.read(stop)
        return theirs.index({name: index.about.get(name) for name in index.about}, [])

    try:
        return await host.threads.work(run)
    except PackUnusableError as exc:
        failure = getattr(ranges, "failure", None)
        if failure is not None:
            raise failure from exc
        raise IntegrityError(
            f"the pack {key} is not what the packages of {env_id} give: {exc.message}",
            hint="nothing in it is run; `asynccache pack --force` replaces it",
        ) from exc


def _compared(theirs: Index, ours: Index) -> str:
    for name in _ABOUT:
        if theirs.about.get(name) != ours.about.get(name):
            raise damaged(f"it says {theirs.about.get(name)!r} of {name}, and {ours.about.get(name)!r} was expected")
    if _content(theirs, bytecode=True) == _content(ours, bytecode=True):
        return "whole"
    found, expected = _content(theirs, bytecode=False), _content(ours, bytecode=False)
    if found != expected:
        differing = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        raise PackUnusableError(f"{len(differing)} files differ, among them {differing[0]}")
    return "sources"


def _content(index: Index, *, bytecode: bool) -> dict[str, object]:
    """Return path -> entry, with digests' positions by path, independent of the order of the files."""
    directories = [(path, mode) for path, mode in index.directories if bytecode or not path.endswith("__pycache__")]
    content: dict[str, object] = {**dict(directories), **dict(index.links)}
    for file in index.files:
        if bytecode or not file.bytecode:
            patches = dict(file.patches)
            patches["d"] = [[*row[:2], index.files[row[2]].path, *row[3:]] for row in patches.get("d", ())]
            content[file.path] = (file.mode, file.size, file.sha256, patches)
    return content
