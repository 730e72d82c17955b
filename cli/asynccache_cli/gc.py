"""`asynccache gc`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from asynccache_cli.options import (
    arches_option,
    common_options,
    kept,
    not_planned,
    run_verb,
    shard_options,
    show,
    show_json,
)
from asynccache_cli.text import human_bytes, table

if TYPE_CHECKING:
    from asynccache.api import Amount, Collected, Garbage, Leases, Session


@click.command("gc")
@click.option("--keep-days", type=float, default=90.0, show_default=True, help="Keep what is younger, or used since.")
@click.option("--dry-run", is_flag=True, help="Change nothing; show what would be removed.")
@click.option(
    "--unreferenced",
    is_flag=True,
    help="Also environments without alias, lease or use; --keep-days is 30 or more then.",
)
@click.option(
    "--also", metavar="GLOB", default="", help="Also documents and archives of other writers whose key matches."
)
@click.option("--grace-hours", type=float, default=12.0, show_default=True, help="Time from mark to sweep, 1 or more.")
@click.option("--leases", is_flag=True, help="List the leases of deployed flows; nothing is collected.")
@click.option(
    "--remove", "removed", metavar="NAME", help="With --leases: remove a lease, or those that match a pattern."
)
@click.option("--add", "added", metavar="NAME", help="With --leases: keep environments until the lease is removed.")
@click.option("--env", "environments", metavar="ENV", multiple=True, help="With --add: which; repeat.")
@shard_options
@arches_option
@common_options
def command(
    *,
    run_id: str,
    leases: bool,
    removed: str | None,
    added: str | None,
    environments: tuple[str, ...],
    arches: tuple[str, ...],
    **what: Any,
) -> None:
    """Remove unreachable objects from a store, in two runs: the first one marks, a second one after --grace-hours
    sweeps.

    Aliases with their history, leases of deployed flows, uses, and documents keep what they refer to. Environments are
    removed only with --unreferenced, and objects that asynccache has no record of only with --also.

    With --shard a run marks or sweeps a part of the packages; the first shard also takes environments and everything
    else. Nothing is swept before all shards have marked, and packages only after the environments. Shards find each
    other in the store, so --run-id changes nothing.

    \b
    Examples:
      asynccache gc --store s3://bucket/conda_env --dry-run
      asynccache gc --store s3://bucket/conda_env --unreferenced --keep-days 180
      asynccache gc --store s3://bucket/conda_env --shard 2/8
      asynccache gc --store s3://bucket/conda_env --leases
      asynccache gc --store s3://bucket/conda_env --leases --remove 'argo-workflows/oldflow/*'
      asynccache gc --store s3://bucket/conda_env --leases --add reports --env team/reports:v3
    """
    del run_id  # all shards of a mark find each other in the store
    if (removed or added or environments) and not leases:
        raise click.UsageError("--remove, --add and --env are of --leases")
    if bool(added) != bool(environments) or (removed and added):
        raise click.UsageError("--add takes a name and --env; --remove takes a name")
    if not leases:
        _collect(**what)
        return
    not_planned("--leases")

    async def changed(session: Session) -> Leases:
        if removed:
            await session.remove_leases(removed)
        elif added:
            await session.lease(added, *environments, arches=arches)
        return await session.leases()

    show(run_verb(changed), _table)


def _collect(**what: Any) -> None:
    def say(garbage: Garbage) -> None:
        if kept("json"):
            show_json("item", garbage)

    show(run_verb(lambda session: session.gc(found=say, **what)), _summary).raise_for_failures()


def _summary(result: Collected) -> Iterator[str]:
    yield f"{result.archives} objects below the packages and {result.documents} documents in {result.store}"
    if result.swept.objects or result.kept:
        yield from _amount("swept", result.swept)
        yield f"{result.kept} that were marked stay" if result.kept else "nothing that was marked stays"
    if result.dry_run or result.marked.objects:
        yield from _amount("would be marked" if result.dry_run else "marked", result.marked)
    if result.due_at is not None:
        yield f"what is marked is swept by a run after {result.due_at:%Y-%m-%d %H:%M} UTC"
    if result.unfinished:
        shards = ", ".join(map(str, result.unfinished[:10])) + (", ..." if len(result.unfinished) > 10 else "")
        yield f"shards that have not done their part: {shards}"


def _amount(word: str, amount: Amount) -> Iterator[str]:
    yield f"{amount.objects} {word}, {human_bytes(amount.bytes)}"
    for kind, counted in sorted(amount.by_kind.items()):
        yield f"{counted.objects:>8}  {kind:<12} {human_bytes(counted.bytes)}"


def _table(found: Leases) -> Iterator[str]:
    rows = [[each.name, each.flow, str(len(each.environments)), each.user, each.when[:10]] for each in found.leases]
    yield table(["NAME", "FLOW", "ENVIRONMENTS", "BY", "ON"], rows) if rows else f"{found.store} has no leases"
