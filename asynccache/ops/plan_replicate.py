"""What copying one store into another would take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from asynccache.catalog.keys import CatalogKeys
from asynccache.model.root import StoreRoot
from asynccache.model.shard import Shard
from asynccache.ops.plan import Ledger
from asynccache.ops.plan_warm import plan_naming
from asynccache.ops.replicate import Replication, replica_selection
from asynccache.ops.shard_journal import SAVE_EVERY
from asynccache.store.counted import CountedStore
from asynccache.store.open import open_store
from asynccache.store.options import store_options

_LARGE: Final = ("archives", "packs", "supplies")


async def plan_replicate(
    ledger: Ledger,
    source: StoreRoot,
    environments: Sequence[str],
    *,
    aliases: bool,
    move_aliases: bool,
    shard: Shard | None,
    run_id: str,
    dry_run: bool,
) -> None:
    """Count what replicating takes in both stores together (see `Replication`).

    Raises:
        UsageError: A text is neither alias nor ids.
        ObjectNotFoundError: The source has no environment of a name.
        StoreError: One of the stores cannot be listed.
    """
    settings = ledger.host.settings
    async with open_store(source, store_options(settings, ledger.host.clock), may_be_absent=False) as opened:
        other = CountedStore(opened, ledger.store.counts)
        selection = await replica_selection(
            other,
            CatalogKeys(settings.envs_dirname),
            environments,
            aliases=aliases,
            shard=shard,
            run_id=run_id,
            move_names=move_aliases,
        )
        found = await Replication(
            ledger.host, ledger.store, other, selection, lambda _finding: None, dry_run=True
        ).run()
    ledger.failing.update(found.failures)
    for kind, tally in found.objects.items():
        ledger.work[f"{kind} to be copied"] += tally.copied
        ledger.work[f"{kind} there"] += tally.there
        if dry_run:
            continue
        if kind == "names":
            ledger.ask(get=tally.copied, put=tally.copied)
            ledger.maybe(**dict.fromkeys(("list", "get", "head", "put"), 5 * tally.copied))
            ledger.say("an alias that moves takes up to 5 requests more of each kind, for its history")
        elif kind in _LARGE:
            ledger.copy(tally.copied, tally.bytes)
        else:
            ledger.ask(get=tally.copied, put=tally.copied)
        if kind == "documents":
            await plan_naming(ledger, tally.copied)
    ledger.say("requests are those to both stores together, and both have the same prices")
    if dry_run:
        return
    ledger.writes()
    if shard is not None and shard.count > 1:
        ledger.marks_every = SAVE_EVERY
        ledger.maybe(list=1 + shard.count, get=13 + shard.count, head=shard.count, put=4)
        ledger.say("the shard that finishes last also copies documents and aliases, and checks all packages again")
    else:
        ledger.ask(put=1)  # the record for `report`
