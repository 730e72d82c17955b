"""`asynccache envs`, `rm` and `clean`: what is on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from asynccache.errors import UsageError
from asynccache_cli.options import common_options, json_option, place_options, run_verb, show, show_items
from asynccache_cli.quantities import parse_bytes, parse_duration
from asynccache_cli.text import ago, human_bytes, short_ids, table

if TYPE_CHECKING:
    from asynccache.api import Cleaned, OnDisk, StoreCleaned


@click.command("envs")
@click.argument("environments", metavar="[ENV]...", nargs=-1)
@common_options
def envs(*, environments: tuple[str, ...]) -> None:
    """List the environments that are hydrated on this machine, most recently used first; with ENV only those.

    NAME is the shortest name that every command accepts for it. OWN is what removing an environment frees: files that
    it does not share with the node's packages.

    \b
    Examples:
      asynccache envs
      asynccache envs team/env:v1 --json
    """
    show_items(run_verb(lambda session: session.on_disk(*environments)), _on_disk)


def _on_disk(found: Sequence[OnDisk]) -> Iterator[str]:
    rows = [
        (
            e.called,
            short_ids(e.id),
            e.id.arch,
            human_bytes(e.bytes),
            human_bytes(e.own_bytes),
            ago(e.last_used),
            str(e.prefix.parent),
        )
        for e in found
    ]
    head = ("NAME", "ID", "ARCH", "BYTES", "OWN", "LAST USED", "IN")
    yield table(head, rows, right=(3, 4)) if rows else "no environments on this machine"


@click.command("rm")
@click.argument("environments", metavar="ENV...", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Also when a process runs out of it.")
@common_options
def rm(*, environments: tuple[str, ...], force: bool) -> None:
    """Remove environments from this machine; their documents and packages stay in the store.

    The name or path of an environment on this machine selects that one; an alias, ids or a step select every prefix on
    this machine that holds the environment.

    \b
    Examples:
      asynccache rm train
      asynccache rm team/env:v1
    """
    done = run_verb(lambda session: session.remove(*environments, force=force))
    show(done, lambda done: [f"removed {prefix}" for prefix in done.prefixes]).raise_for_failures()


@click.command("clean")
@click.option(
    "--older-than",
    type=parse_duration,
    metavar="AGE",
    help="Remove what has not been used for this time; default: 30d without --keep-bytes, 1d with --store.",
)
@click.option(
    "--keep-bytes",
    type=parse_bytes,
    metavar="SIZE",
    help="Remove the least recently used until at most this much remains, such as 20G.",
)
@click.option("--keep", metavar="ENV", multiple=True, help="Environment that stays; repeat for several.")
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option(
    "--store",
    "root",
    is_flag=False,
    flag_value="",
    metavar="[ROOT]",
    help="Clean the store instead of this machine: the configured one, or the one at ROOT.",
)
@place_options
@json_option
def clean(*, root: str | None, older_than: float | None, dry_run: bool, **what: Any) -> None:
    """Remove environments by last use, extracted packages that no environment uses, archives, and leftovers of dead
    processes.

    An environment that is in use by a process stays, and so does a prefix outside the environments directory. The store
    is changed only with --store: probes and incomplete uploads of dead processes are removed once they are a day old.
    Removals are recorded in the store's log.

    \b
    Examples:
      asynccache clean
      asynccache clean --older-than 7d --dry-run
      asynccache clean --keep-bytes 20G --keep team/env:v1
      asynccache clean --store
    """
    if root is None:
        done = run_verb(lambda session: session.clean(older_than=older_than, dry_run=dry_run, **what))
        show(done, _cleaned).raise_for_failures()
        return
    if any(what.values()):
        raise UsageError("--keep and --keep-bytes are for this machine", hint="leave out --store, or them")
    chosen = {"store": root} if root else None
    swept = run_verb(lambda session: session.clean_store(older_than=older_than, dry_run=dry_run), chosen=chosen)
    show(swept, _swept).raise_for_failures()


def _swept(done: StoreCleaned) -> Iterator[str]:
    rows = [(each.kind, human_bytes(each.bytes), ago(each.modified), each.key) for each in done.removed]
    if rows:
        yield table(("WHAT", "BYTES", "FROM", "KEY"), rows, right=(1,))
    yield f"{len(rows)} leftovers {'would be removed' if done.dry_run else 'removed'} from {done.store}"


def _cleaned(done: Cleaned) -> Iterator[str]:
    rows = [(r.kind, human_bytes(r.bytes), ago(r.last_used), str(r.path)) for r in done.removed]
    if rows:
        yield table(("WHAT", "BYTES", "LAST USED", "PATH"), rows, right=(1,))
    verb = "would be freed" if done.dry_run else "freed"
    yield f"{human_bytes(done.freed_bytes)} {verb}, {human_bytes(done.kept_bytes)} left"
