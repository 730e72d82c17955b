"""`asynccache envs`, `rm` and `clean`: what is on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from asynccache_cli.options import common_options, run_verb, show
from asynccache_cli.quantities import parse_bytes, parse_duration
from asynccache_cli.text import ago, human_bytes, short_ids, table

if TYPE_CHECKING:
    from asynccache.api import Cleaned, OnDisk


@click.command("envs")
@click.argument("environments", metavar="[ENV]...", nargs=-1)
@common_options
def envs(*, environments: tuple[str, ...]) -> None:
    """List the environments that are hydrated on this machine, the last used first; with ENV only those.

    NAME is the shortest name by which every command finds it. OWN is what removing an environment frees: files that it
    does not share with the node's packages.

    \b
    Examples:
      asynccache envs
      asynccache envs team/env:v1 --json
    """
    show(run_verb(lambda session: session.on_disk(*environments)), _on_disk)


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
    """Remove environments from this machine; their documents and packages in the store stay.

    The name or path of an environment on this machine means that one; an alias, ids or a step mean every place on this
    machine that holds the environment.

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
    help="Remove what was not used for so long; 30d unless --keep-bytes.",
)
@click.option(
    "--keep-bytes",
    type=parse_bytes,
    metavar="SIZE",
    help="Remove the least recently used until so much is left, such as 20G.",
)
@click.option("--keep", metavar="ENV", multiple=True, help="Environment that stays; repeat for several.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@common_options
def clean(**what: Any) -> None:
    """Remove environments by last use, packages that no environment shares, archives, and what dead processes left.

    An environment that a process runs out of stays, and so does a prefix outside the environments directory. The store
    is not touched.

    \b
    Examples:
      asynccache clean
      asynccache clean --older-than 7d --dry-run
      asynccache clean --keep-bytes 20G --keep team/env:v1
    """
    show(run_verb(lambda session: session.clean(**what)), _cleaned).raise_for_failures()


def _cleaned(done: Cleaned) -> Iterator[str]:
    rows = [(r.kind, human_bytes(r.bytes), ago(r.last_used), str(r.path)) for r in done.removed]
    if rows:
        yield table(("WHAT", "BYTES", "LAST USED", "PATH"), rows, right=(1,))
    verb = "would be freed" if done.dry_run else "freed"
    yield f"{human_bytes(done.freed_bytes)} {verb}, {human_bytes(done.kept_bytes)} left"
