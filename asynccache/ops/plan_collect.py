"""What collecting takes: it is done on a store that is left as it is, and counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from asynccache.model.shard import Shard
from asynccache.ops.collect import Collected, Collector
from asynccache.ops.plan import Ledger
from asynccache.store.counted import RehearsedStore

_OF_AN_ENVIRONMENT = 20  # requests that sweeping one takes, about


async def plan_gc(
    ledger: Ledger,
    collector_of: Callable[[RehearsedStore], Awaitable[Collector]],
    shard: Shard | None,
    *,
    dry_run: bool,
) -> None:
    """Count what a run of `gc` does now: sweeping what is due, and marking.

    Args:
        ledger: Takes it.
        collector_of: Makes what collects in a store.
        shard: Which part; None for all.
        dry_run: Whether the run only looks.

    Raises:
        LockTimeoutError: Somebody else collects.
        IntegrityError: A name, lease, history or document cannot be read.
        StoreError: The store cannot be read.
    """
    store = ledger.store.rehearsal()
    collector = await collector_of(store)
    done = await (collector.look(shard=shard) if dry_run else collector.run(shard))
    for amount, what in ((done.swept, "to be removed"), (done.marked, "to be marked")):
        for kind, counted in amount.by_kind.items():
            ledger.work[f"{kind} {what}"] += counted.objects
    if done.kept:
        ledger.work["marked before, and to stay"] = done.kept
    ledger.freed_bytes = done.swept.bytes
    if dry_run:
        return
    ledger.writes()
    if shard is not None and shard.count > 1:
        ledger.maybe(list=2 * shard.count, get=2 * shard.count, head=2 * shard.count, put=2 * shard.count)
        ledger.say(
            "a shard other than the first one waits for the environments to be swept, with two requests a second, and"
            " keeps what they name until then"
        )
    if store.removals:
        ledger.maybe(head=2 * store.removals + 1, delete=1)
        ledger.say(
            "what has changed since it was marked takes one more request, and so does every object where the service"
            " heeds no versions, which the first removal shows"
        )
    _afterwards(ledger, done)


def _afterwards(ledger: Ledger, done: Collected) -> None:
    """Say what a later run takes to sweep what this one marks."""
    objects = done.marked.objects
    if not objects:
        return
    environments = done.marked.by_kind.get("environment")
    number = environments.objects if environments is not None else 0
    ledger.say(
        f"a run after the grace period frees {done.marked.bytes} bytes of what is marked, with {objects - number}"
        f" delete for single objects, about {_OF_AN_ENVIRONMENT} requests for each of {number} environments, and the"
        " roots and documents read again"
    )
