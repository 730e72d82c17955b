"""The last run of each command that leaves something in a store: read from journals, records of audits, marks of gc."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import field
from datetime import UTC, datetime
from typing import Final

from asynccache.catalog.collection_state import read_state
from asynccache.errors import IntegrityError, ObjectNotFoundError
from asynccache.model.dataclass import dataclass
from asynccache.node.json_text import read_json
from asynccache.ops.audit_result import Audit
from asynccache.ops.backfill_run import run_of_base
from asynccache.ops.collect_scan import SHARDS
from asynccache.ops.report_result import LastRun, RunCommand
from asynccache.ops.verify_run import shown
from asynccache.runtime.budget import Budget
from asynccache.runtime.tasks import run_works
from asynccache.store.base import ObjectInfo, Store

_WORKERS: Final[tuple[RunCommand, ...]] = ("backfill", "replicate")
_MOST_SHARDS: Final = 10_000  # of a run; a key may say anything
# COMMAND-HASH/N/I.json, and I.jsonl of audits (`shards`)
_PART: Final = re.compile(
    r"(?P<base>(?P<command>backfill|replicate|audit|verify)-[0-9a-f]+/(?P<count>[0-9]{1,5}))/[0-9]+\.(?P<form>jsonl?)"
)
_AT_ONCE: Final = 16  # records of audits read at once
_LAST_LINE: Final = 1 << 20  # bytes at the end of a record that hold its totals


@dataclass(slots=True)
class _Listed:
    """What a listing shows about one run.

    Attributes:
        base: Common beginning of the keys of its shards.
        count: Number of shards.
        written: When the last of it was written, seconds since the epoch.
        records: Records of finished shards of an audit.
    """

    base: str
    count: int
    written: float = 0.0
    records: list[ObjectInfo] = field(default_factory=list)


async def last_runs(store: Store) -> tuple[LastRun, ...]:
    """Return the last run of each command that the store has a record of.

    Raises:
        StoreError: The store cannot be read.
    """
    latest: dict[str, _Listed] = {}
    current: _Listed | None = None
    async for info in store.scan(SHARDS):
        matched = _PART.fullmatch(info.key.removeprefix(SHARDS))
        if matched is None or (matched["command"] == "audit") != (matched["form"] == "jsonl"):
            continue
        command, count = matched["command"], int(matched["count"])
        if count > _MOST_SHARDS:
            continue
        base = f"{SHARDS}{matched['base']}"
        if current is None or current.base != base:
            current = _Listed(base, count)
        current.written = max(current.written, info.modified or 0.0)
        if command == "audit":
            current.records.append(info)
        if command not in latest or latest[command].written <= current.written:
            latest[command] = current
    found = [await _of_workers(store, command, latest[command]) for command in _WORKERS if command in latest]
    if "verify" in latest:
        found.append(await _of_verify(store, latest["verify"]))
    if "audit" in latest:
        found.append(await _of_audit(store, latest["audit"]))
    collected = await _of_gc(store)
    return tuple(sorted([*found, *([collected] if collected else [])], key=lambda run: run.command))


async def _of_workers(store: Store, command: RunCommand, listed: _Listed) -> LastRun:
    run = await run_of_base(store, listed.base, listed.count)
    figures = {**run.counts.as_document(), "packages": run.packages}
    return LastRun(command, run.begun_at, run.updated_at, run.shards, len(run.unfinished), figures)


async def _of_verify(store: Store, listed: _Listed) -> LastRun:
    archives, environments = await shown(store, listed.base, listed.count)
    read, beside = archives.counts, environments.counts
    figures = {
        "checked": read.checked,
        "bytes": read.bytes,
        "documents": beside.documents,
        "damaged": len(read.damaged) + len(beside.damaged),
        "errors": len(read.errors) + len(beside.errors),
    }
    updated = max(archives.updated_at, environments.updated_at)
    return LastRun("verify", archives.begun_at, updated, archives.shards, len(archives.unfinished), figures)


async def _of_audit(store: Store, listed: _Listed) -> LastRun:
    async def read(info: ObjectInfo) -> tuple[Audit, str, str] | None:
        length = min(info.size, _LAST_LINE)
        try:
            data = await store.get(info.key, start=info.size - length, length=length)
            said = read_json(data.rstrip(b"\n").rpartition(b"\n")[2])
            return Audit.from_document(said["result"]), str(said["begun_at"]), str(said["updated_at"])
        except (ObjectNotFoundError, ValueError, KeyError, TypeError):
            return None  # a shard without a record counts as not done

    read_ones = await run_works(listed.records, read, room=Budget(_AT_ONCE, "records"))
    done: list[tuple[Audit, str, str]] = []
    for each in read_ones:
        if isinstance(each, Exception):
            raise each
        if each is not None:
            done.append(each)
    total = Audit(store.address)
    for audit, _begun, _updated in done:
        total.add(audit)
    found = Counter({str(kind): count for kind, count in total.found.items()})
    figures = {"archives": total.archives, "documents": total.documents, "wrong": total.wrong, **found}
    begun, updated = (min(each[1] for each in done), max(each[2] for each in done)) if done else ("", "")
    return LastRun("audit", begun, updated, listed.count, listed.count - len(done), figures)


async def _of_gc(store: Store) -> LastRun | None:
    try:
        state = (await read_state(store)).state
    except IntegrityError:
        return None  # `gc` reports what is wrong with it
    if not state.marked_at:
        return None
    marked = datetime.fromtimestamp(state.marked_at, UTC).isoformat(timespec="seconds")
    figures = {"keep_days": int(state.rules.keep_days)}
    return LastRun("gc", marked, marked, state.lists, state.lists - len(state.done), figures)
