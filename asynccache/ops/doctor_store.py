"""What `doctor` finds out about a store: which identity is used, and what it may do."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from asynccache.errors import PreconditionFailedError, StoreError, StoreRefusedError
from asynccache.model.digest import digest_file
from asynccache.ops.opening import Opening
from asynccache.runtime.clock import Clock
from asynccache.runtime.files import open_file
from asynccache.runtime.late_loop import in_thread
from asynccache.runtime.scratch import scratch_directory
from asynccache.store.admission import FORMAT, LATELY, read_writers
from asynccache.store.base import Store

Note = Callable[..., None]
"""Called with the subject, level and text of a finding, and what to do about it."""
_PROBE_BYTES: Final = 8 << 20
_NOT_IN_KEYS: Final = re.compile(r"[^A-Za-z0-9_-]")


async def examine_store(opening: Opening, note: Note) -> None:
    """List, read, write, and write under a condition; lacking a permission that readers do not need is not a failure.

    Args:
        opening: Opens the store.
        note: Called with what was found.

    Raises:
        AsyncCacheError: It cannot be opened or listed, or something other than a permission failed.
    """
    store, settings = await opening.store(), opening.settings
    store.admit(None)  # testing whether it can be written does not count as writing
    if settings.root.is_directory and not settings.root.directory.exists():
        note("store", "ok", f"{store.address} is made by the first command that stores something")
        return
    started = opening.clock.now()
    first = await store.list_page(settings.packages_dirname + "/", limit=1)
    latency = opening.clock.now() - started
    known_by = f" with {store.asked_with}" if store.asked_with else ""
    note("store", "ok", f"{store.address} can be listed{known_by}, first answer after {latency * 1000:.0f} ms")
    await _written_by(store, note)
    if first:
        await store.get(first[0].key, length=1)
        note("store reading", "ok", "objects can be read")
    async with scratch_directory("asynccache-doctor-") as scratch:
        await _transfer(store, opening.clock, settings.username, scratch / "probe", note)


async def _written_by(store: Store, note: Note) -> None:
    """Report which versions have written lately, and which may."""
    writers = await read_writers(store)
    lately = ", ".join(map(str, writers.versions)) or "nobody"
    warnings = writers.warnings
    note("store writers", "warning" if warnings else "ok", f"in the last {LATELY} days: {lately}", "; ".join(warnings))
    floor = writers.floor
    who = f", set by {floor.by} on {floor.on}" if floor.by else ""
    status = f"clients may write from format {floor.format} on{who}; this version has format {FORMAT}"
    if floor.format > FORMAT:
        note("store format", "failure", status, "update asynccache: this version may not write to the store")
    else:
        note("store format", "ok", status)


async def _transfer(store: Store, clock: Clock, user: str, path: Path, note: Note) -> None:
    """Write one object, read it back, try to write it under a condition that does not hold, and remove it.

    Each user has one key and one content, so that at most one object remains if it cannot be removed.
    """
    name = f"asynccache/doctor/{_NOT_IN_KEYS.sub('-', user)}"
    data = await in_thread(random.Random(name).randbytes, _PROBE_BYTES)  # noqa: S311 - sample data
    async with open_file(path, "wb") as file:
        await file.write(data)
    digests = await in_thread(digest_file, str(path), "sha256", "md5")
    started = clock.now()
    try:
        await store.upload(name, path, digests, if_absent=False)
    except StoreRefusedError as exc:
        advice = "enough to make environments; to resolve, cache, pack and launch flows, "
        note("store writing", "warning", exc.message, advice + (exc.hint or "ask for the right to write"))
        return
    try:
        written = len(data) / (clock.now() - started) / 1e6
        started = clock.now()
        await store.download(name, path, size=len(data))
        read = len(data) / (clock.now() - started) / 1e6
        back = await in_thread(digest_file, str(path), "sha256")
        digests.check(back, f"what was read back from {store.address}")
        note("store speed", "ok", f"one object of 8 MiB: written {written:.0f} MB/s, read {read:.0f} MB/s, verified")
        await _conditions(store, name, note)
    finally:
        try:
            await store.delete(name)
        except StoreError as exc:
            advice = "nothing needs it in normal work; remove the object by other means"
            note("store deletion", "warning", f"{name} could not be removed ({exc.message})", advice)


async def _conditions(store: Store, name: str, note: Note) -> None:
    """Try to write an existing object under the condition that it does not exist."""
    honoured = (await store.capabilities(again=True)).conditional_put
    if honoured:
        try:
            await store.put(name, b"probe", if_absent=True)
            honoured = False
        except PreconditionFailedError:
            pass
    if honoured:
        note("store conditions", "ok", "conditional writes are honoured: concurrent writers are safe")
    else:
        note(
            "store conditions",
            "warning",
            "conditional writes are ignored",
            "aliases cannot be created atomically here; use a store that honours If-None-Match",
        )
