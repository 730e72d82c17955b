"""`asynccache clean`."""

from __future__ import annotations

import json

import click

from asynccache_cli.options import json_option, run_verb, store_options
from asynccache_cli.quantities import parse_bytes, parse_duration
from asynccache_cli.text import ago, human_bytes, table


@click.command("clean", short_help="Free disk space: environments and packages that are no longer used.")
@click.option("--older-than", metavar="AGE", help="Remove what was not used for so long; 30d unless --keep-bytes.")
@click.option("--keep-bytes", metavar="SIZE", help="Remove the least recently used until so much is left, such as 20G.")
@click.option("--keep", metavar="ENV", multiple=True, help="Environment that stays; repeat for several.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@store_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    older_than: str | None,
    keep_bytes: str | None,
    keep: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **flags: object,
) -> None:
    """Remove environments by last use, packages that no environment shares, archives, and what dead processes left.

    An environment that a process runs out of stays, and so does a prefix outside the environments directory. The store
    is not touched.

    \b
    Examples:
      asynccache clean
      asynccache clean --older-than 7d --dry-run
      asynccache clean --keep-bytes 20G --keep team/env:v1
    """
    age = parse_duration(older_than) if older_than else None
    left = parse_bytes(keep_bytes) if keep_bytes else None
    done = run_verb(
        ctx,
        flags,
        lambda session: session.clean(older_than=age, keep_bytes=left, keep=keep, dry_run=dry_run),
    )
    if as_json:
        click.echo(json.dumps(done.as_document()))
    else:
        rows = [(r.kind, human_bytes(r.bytes), ago(r.last_used), str(r.path)) for r in done.removed]
        if rows:
            click.echo(table(("WHAT", "BYTES", "LAST USED", "PATH"), rows, right=(1,)))
        verb = "would be freed" if dry_run else "freed"
        click.echo(f"{human_bytes(done.freed_bytes)} {verb}, {human_bytes(done.kept_bytes)} left")
    done.raise_for_failures()
