"""A report on a store, from its listings, documents, aliases and journals; no archive is read.

Memory grows with the store by a few bytes for each archive, for its name and channel, and for each address that a
document names. Everything else is counted, or only the largest or latest is kept.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from asynccache.catalog.aliases import Aliases
from asynccache.catalog.keys import CatalogKeys
from asynccache.errors import IntegrityError, without_tokens
from asynccache.model.alias import Alias
from asynccache.node.pack_format import OBJECT_NAME
from asynccache.ops.collect import Collector
from asynccache.ops.collect_rules import DAY, KindAmount, Rules
from asynccache.ops.collect_scan import RECEIPTS
from asynccache.ops.contents import Totals, by_source, counted, in_both_formats
from asynccache.ops.report_result import Duplicate, DuplicateKind, NamedEnvironment, StoreReport
from asynccache.ops.report_runs import last_runs
from asynccache.runtime.budget import Budget
from asynccache.runtime.tasks import run_works
from asynccache.store.base import ObjectInfo, Store
from asynccache.store.key_set import KeySet
from asynccache.store.stored import StoredArchive

CHANNELS: Final = 500
"""How many are told apart: what a store has beyond is added up."""
OTHERS: Final = "(others)"
ALIASES: Final = 200
"""How many names are read with their histories."""
MOVES: Final = 10
"""How many moves of a name are told."""
_EXAMPLES: Final = 20  # of each kind of duplicate
_AT_ONCE: Final = 16  # aliases read at once
_AGES: Final = ((7.0, "up to 7 days"), (30.0, "up to 30 days"), (90.0, "up to 90 days"), (365.0, "up to a year"))
_OLDER: Final = "older"
_NO_TIME: Final = "not known"


async def report_on(
    store: Store, rules: Rules, collector: Collector, keys: CatalogKeys, dirname: str, now: float
) -> StoreReport:
    """Return a report; nothing is written.

    Args:
        store: An open store.
        rules: The rules of `gc`.
        collector: Collector of this store, with these rules.
        keys: Where environments are.
        dirname: Directory of the packages.
        now: Seconds since the epoch, by the store's clock.

    Raises:
        StoreError: The store cannot be read.
    """
    counting = Counting(store.address, dirname, now)
    try:
        counting.report.garbage = (await collector.look(watcher=counting)).marked
    except IntegrityError as exc:
        counting = Counting(store.address, dirname, now)
        counting.report.refused = exc
        await _listed(store, keys, dirname, counting)
    report = counting.report
    report.keep_days, report.unreferenced = rules.keep_days, rules.unreferenced
    report.names, report.aliases = await _aliases(store, keys)
    report.runs = await last_runs(store)
    return report


class Counting:
    """Counts what a scan of a store finds (see `collect_scan.Watcher`).

    Args:
        address: Address of the store.
        dirname: Directory of the packages.
        now: Seconds since the epoch.

    Attributes:
        report: What was counted so far.
    """

    def __init__(self, address: str, dirname: str, now: float) -> None:
        self.report = StoreReport(Totals(address), datetime.fromtimestamp(now, UTC))
        self._dirname = dirname
        self._now = now
        self._names = KeySet()
        self._of_channels = KeySet()

    def environment(self, document: ObjectInfo | None, beside: Sequence[ObjectInfo]) -> None:
        """Count an environment."""
        if document is not None:
            self.report.documents.add(document.size)
        for info in beside:
            if info.key.endswith(f"/{OBJECT_NAME}"):
                self.report.packs.add(info.size)

    def receipt(self, info: ObjectInfo) -> None:
        """Count a receipt."""
        self.report.receipts.add(info.size)

    def archives(self, group: Sequence[ObjectInfo], reach: str) -> None:
        """Count everything that was made from one address."""
        found = [each for info in group if (each := StoredArchive.listed(info, self._dirname)) is not None]
        self.report.contents.other += len(group) - len(found)
        if found:
            self.group(found, reach)

    def group(self, group: Sequence[StoredArchive], reach: str) -> None:
        """Count archives of one address."""
        report = self.report
        report.contents.add(group)
        channel = channel_of(group[0])
        counted_as = channel if channel in report.channels or len(report.channels) < CHANNELS else OTHERS
        for archive in group:
            _add(report.channels, counted_as, archive.size)
            _add(report.ages, self._age(archive.info), archive.size)
            _add(report.reach, reach, archive.size)
        if in_both_formats(group):
            report.repeated.both_forms.objects += 1
            report.repeated.both_forms.bytes += sum(archive.size for archive in group if archive.transmuted)
        self._duplicates(group, channel)

    def _duplicates(self, group: Sequence[StoredArchive], channel: str) -> None:
        amounts = self.report.repeated
        names: dict[str, list[int]] = {}
        for archive in group:
            names.setdefault(_name_of(archive), []).append(archive.size)
        for name, sizes in names.items():
            if len(sizes) > 1:
                amounts.two_digests.add(sum(sizes[1:]))
                self._example("two digests", name, channel, sum(sizes[1:]))
            pair = f"{channel}\0{name}"
            if pair not in self._of_channels:
                self._of_channels.add(pair)
                if name in self._names:
                    amounts.several_channels.add(sum(sizes))
                    self._example("several channels", name, channel, sum(sizes))
            self._names.add(name)

    def _example(self, kind: DuplicateKind, name: str, channel: str, size: int) -> None:
        examples = self.report.repeated.examples
        if sum(each.kind == kind for each in examples) < _EXAMPLES:
            examples.append(Duplicate(kind, name, channel, size))

    def _age(self, info: ObjectInfo) -> str:
        if info.modified is None:
            return _NO_TIME
        days = (self._now - info.modified) / DAY
        return next((label for upto, label in _AGES if days <= upto), _OLDER)


def channel_of(archive: StoredArchive) -> str:
    """Return the channel of a conda package, without a token; for others the host.

    >>> from asynccache.store.base import ObjectInfo
    >>> key = f"packages/conda/host/t/secret/ch/noarch/a-1-0.conda/a-1-0.conda/{'0' * 32}/a-1-0.conda"
    >>> channel_of(StoredArchive.listed(ObjectInfo(key, 1)))
    'host/t/***/ch'
    """
    parts = archive.parts
    path = without_tokens(f"{parts.kind}/{parts.host}/{parts.path}").split("/")[1:]
    # .../CHANNEL/SUBDIRECTORY/FILE
    return "/".join(path[:-2] if parts.kind == "conda" and len(path) > 3 else path[:1])


def _name_of(archive: StoredArchive) -> str:
    """Return the name that an archive has in its channel."""
    words = archive.parts.path.split("/")
    return f"{words[-2]}/{archive.filename}" if archive.kind == "conda" and len(words) > 1 else archive.filename


def _add(amounts: dict[str, KindAmount], label: str, size: int) -> None:
    amounts.setdefault(label, KindAmount()).add(size)


async def _listed(store: Store, keys: CatalogKeys, dirname: str, counting: Counting) -> None:
    """Count what listings show, if it is unknown what needs it."""
    async for info in store.scan(f"{keys.dirname}/"):
        document = keys.parse_document(info.key) is not None
        counting.environment(info if document else None, [] if document else [info])
    async for info in store.scan(RECEIPTS):
        counting.receipt(info)
    async for group in by_source(counted(store, dirname, counting.report.contents)):
        counting.group(group, "unknown")


async def _aliases(store: Store, keys: CatalogKeys) -> tuple[int, tuple[NamedEnvironment, ...]]:
    """Return the number of aliases, and those that were written last, sorted."""
    aliases = Aliases(store, keys)
    count, latest = 0, list[tuple[float, str, Alias, ObjectInfo]]()
    async for alias, info in aliases.names():
        count += 1
        heapq.heappush(latest, (info.modified or 0.0, info.key, alias, info))
        if len(latest) > ALIASES:
            heapq.heappop(latest)

    async def read(each: tuple[float, str, Alias, ObjectInfo]) -> NamedEnvironment:
        _modified, _key, alias, info = each
        modified = None if info.modified is None else datetime.fromtimestamp(info.modified, UTC)
        try:
            ids = await aliases.get(alias) or ("", "")
            moves = await aliases.history(alias) if alias.mutable else []
        except IntegrityError as exc:
            return NamedEnvironment(str(alias), "", "", modified, trouble=str(exc))
        return NamedEnvironment(str(alias), *ids, modified, len(moves), tuple(moves[: -MOVES - 1 : -1]))

    found = await run_works(sorted(latest, key=lambda each: each[1]), read, room=Budget(_AT_ONCE, "names"))
    for each in found:
        if isinstance(each, Exception):
            raise each
    return count, tuple(each for each in found if isinstance(each, NamedEnvironment))
