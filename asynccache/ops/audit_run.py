"""What each shard of an audit found, recorded in the store, so that no shard is done twice and all can be added up.

    asynccache/shards/audit-HASH/N/I.jsonl           findings, one in each line; in the last line the sums. Of an audit
                                                     that is no part of anything the sums alone: `report` shows them
    asynccache/shards/audit-HASH/N/I.json            how far reading archives has come (`shard_journal`)

A shard's record is written when it has ended: if two workers do one shard, the last one counts.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, Self

from asynccache.engine.host import Host
from asynccache.errors import AsyncCacheError, ObjectNotFoundError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import digest_file
from asynccache.model.document import document
from asynccache.model.shard import Shard
from asynccache.node.json_text import read_json
from asynccache.ops.audit_result import Audit, AuditFinding, AuditRun, Found
from asynccache.ops.shards import Division
from asynccache.ops.verify import Sample
from asynccache.runtime.author import author
from asynccache.runtime.files import open_file
from asynccache.runtime.tasks import outcome_of
from asynccache.store.base import Store

_VERSION: Final = 1
_BATCH: Final = 64 << 10  # bytes of findings that are read at once


@dataclass(frozen=True, slots=True)
class AuditSelection:
    """What an audit covers.

    Attributes:
        read: Archives to read and digest; None for none.
        shard: Which part; None for all, which is recorded in the store only if the run has a name.
        run_id: Name of the run, shared by all shards. A shard that is done is not done again.
        repair: Repair what can be repaired.
        report: Add up what all shards have found so far; findings are then recorded in the store.
    """

    read: Sample | None = None
    shard: Shard | None = None
    run_id: str = ""
    repair: bool = False
    report: bool = False

    @property
    def kept(self) -> bool:
        """Whether findings are recorded in the store."""
        return self.shard is not None or bool(self.run_id) or self.report

    @property
    def first(self) -> bool:
        """Whether what belongs to no range of keys belongs to this shard."""
        return self.index == 1

    @property
    def index(self) -> int:
        """Which part, from 1."""
        return 1 if self.shard is None else self.shard.index

    def journal_key(self, dirname: str) -> str:
        """Return the key under which progress is recorded; empty if it is not."""
        return self.division(dirname).part_key(self.index) if self.read is not None and self.run_id else ""

    def division(self, dirname: str) -> Division:
        """Return what is divided of a store with this directory of packages."""
        read = None if self.read is None else f"{self.read.share:g} {self.read.seed}"
        about = (self.run_id or None, read, "repair" if self.repair else None, *([] if self.kept else ["sums"]))
        return Division("audit", about, f"{dirname}/", self.shard.count if self.shard else 1)


@dataclass(slots=True)
class _Record:
    """A shard that has ended.

    Attributes:
        path: File with its lines, on this machine.
        said: The last line.
    """

    path: Path
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def audit(self) -> Audit:
        """The totals."""
        return Audit.from_document(self.said["result"])


class KeptSums:
    """Writes the sums of an audit of which no findings are kept.

    Args:
        host: What it is done with.
        store: An open store.
        selection: What is audited.
    """

    def __init__(self, host: Host, store: Store, selection: AuditSelection) -> None:
        self._store = store
        self._key = _key(selection.division(host.settings.packages_dirname), selection)
        self._begun_at = datetime.now(UTC).isoformat()

    async def end(self, result: Audit) -> None:
        """Write them; where that cannot be done, the result says why.

        Args:
            result: Of the audit.
        """
        if result.empty:
            return  # a path that was mistyped is none of ours
        outcome = await outcome_of(self._store.put(self._key, _last_line(result, self._begun_at)))
        result.unrecorded = outcome if isinstance(outcome, AsyncCacheError) else None


class KeptFindings:
    """Collects the findings of one shard on this machine, and writes them into the store at its end.

    Args:
        host: Settings, threads and budgets to work with.
        store: An open store.
        selection: Which shard.
    """

    def __init__(self, host: Host, store: Store, selection: AuditSelection) -> None:
        self._host = host
        self._store = store
        self._key = _key(selection.division(host.settings.packages_dirname), selection)
        self._begun_at = datetime.now(UTC).isoformat()
        self._path: Path | None = None
        self._file: IO[bytes] | None = None

    async def __aenter__(self) -> Self:
        self._path = await self._host.threads.run(self._host.workspace.passing_file, "findings.jsonl")
        self._file = await self._host.threads.run(self._path.open, "wb")
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            await self._host.threads.certainly(_remove, self._path)

    def add(self, finding: AuditFinding) -> None:
        """Keep a finding."""
        if self._file is not None:
            self._file.write(json.dumps(finding.as_document()).encode("ascii") + b"\n")

    async def end(self, result: Audit) -> None:
        """Write everything into the store.

        Raises:
            StoreError: It cannot be written.
        """
        if self._file is None or self._path is None:
            return
        self._file.write(_last_line(result, self._begun_at))
        self._file.close()
        digests = await self._host.threads.run(digest_file, str(self._path), "sha256", "md5")
        await self._store.upload(self._key, self._path, digests, if_absent=False)


async def done_before(host: Host, store: Store, selection: AuditSelection, found: Found) -> Audit | None:
    """Return what a shard of a named run found, and report its findings; None if it has not ended completely.

    Raises:
        StoreError: The store cannot be read.
    """
    if not selection.run_id:
        return None
    async with _record(host, store, selection) as record:
        if record is None:
            return None
        audit = record.audit
        if audit.unmended or (audit.read is not None and audit.read.errors):
            return None  # these are retried
        await _report_findings(record, found)
        return audit


async def audit_run(host: Host, store: Store, selection: AuditSelection, found: Found) -> AuditRun:
    """Add up what all shards of a run found, and report their findings.

    Args:
        host: Settings, threads and budgets to work with.
        store: An open store.
        selection: Any of its shards.
        found: Called with each finding.

    Raises:
        StoreError: The store cannot be read.
    """
    count = selection.shard.count if selection.shard is not None else 1
    total = Audit(store.address)
    unfinished, begun, updated = [], [], []
    for index in range(1, count + 1):
        part = AuditSelection(selection.read, Shard(index, count), selection.run_id, selection.repair)
        async with _record(host, store, part) as record:
            if record is None:
                unfinished.append(index)
                continue
            total.add(record.audit)
            begun.append(str(record.said["begun_at"]))
            updated.append(str(record.said["updated_at"]))
            await _report_findings(record, found)
    return AuditRun(total, count, tuple(unfinished), min(begun, default=""), max(updated, default=""))


def _last_line(result: Audit, begun_at: str) -> bytes:
    last = {
        "version": _VERSION,
        "result": result.as_document(),
        "begun_at": begun_at,
        "updated_at": datetime.now(UTC).isoformat(),
        "worker": document(author()),
    }
    return json.dumps(last).encode("ascii") + b"\n"


def _key(division: Division, selection: AuditSelection) -> str:
    return division.part_key(selection.index) + "l"


@asynccontextmanager
async def _record(host: Host, store: Store, selection: AuditSelection) -> AsyncIterator[_Record | None]:
    """Fetch the record of a shard; None if it has not ended. A record that cannot be read counts as none."""
    key = _key(selection.division(host.settings.packages_dirname), selection)
    path = await host.threads.run(host.workspace.passing_file, "findings.jsonl")
    try:
        try:
            await store.download(key, path)
        except ObjectNotFoundError:
            yield None
            return
        yield await host.threads.run(_read_record, path)
    finally:
        await host.threads.certainly(_remove, path)


def _read_record(path: Path) -> _Record | None:
    last = b""
    with path.open("rb") as file:
        for line in file:
            last = line
    try:
        record = _Record(path, read_json(last))
        if record.said["version"] != _VERSION:
            return None
        _ = record.audit
    except (ValueError, KeyError, TypeError):
        return None
    return record


async def _report_findings(record: _Record, found: Found) -> None:
    async with open_file(record.path) as file:
        while lines := await file.readlines(_BATCH):
            for said in map(read_json, lines):
                if "kind" in said:  # the last line has the sums
                    found(AuditFinding(said["kind"], str(said["key"]), str(said["text"])))


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
