"""`asynccache ls` and `stat`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from asynccache_cli.options import Items, common_options, run_listing, run_verb, show
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from asynccache.api import StoredArchive, Totals


@click.command("ls")
@click.argument("pattern", required=False)
@click.option("--long", "-l", "long_form", is_flag=True, help="Show the key as well.")
@click.option("--keys", is_flag=True, help="Show keys only; `backfill --keys` reads them, and --json.")
@common_options
def ls(*, pattern: str | None, long_form: bool, keys: bool) -> None:
    """List the packages of a store: size, date, t for transmuted, file name.

    PATTERN is a shell pattern for the file name, or for the whole key if it contains a slash.

    \b
    Examples:
      asynccache ls 'numpy-*.conda'
      asynccache ls --store s3://bucket/conda_env --json | jq -r 'select(.type == "item").key'
    """

    def line(item: StoredArchive) -> Iterator[str]:
        if keys:
            yield item.info.key
            return
        when = item.info.modified
        date = datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M") if when is not None else "-"
        mark = "t" if item.parts.transmuted else " "
        name = item.info.key if long_form else item.parts.filename
        yield f"{human_bytes(item.info.size):>10}  {date:16}  {mark}  {name}"

    items = Items(line)
    run_listing(lambda session: session.list_packages(pattern), items.show)
    items.end()


@click.command("stat")
@common_options
def stat() -> None:
    """Count packages and bytes in a store: by kind and format, by host, and those stored in both formats.

    Takes one request per thousand objects.
    """
    show(run_verb(lambda session: session.stat()), _counted)


def _counted(totals: Totals) -> Iterator[str]:
    archives, size = sum(totals.objects.values()), human_bytes(sum(totals.bytes.values()))
    yield f"{totals.store}: {totals.packages} packages, {archives} archives, {size}"
    for label in sorted(totals.objects):
        yield f"  {label:<14} {totals.objects[label]:>8}  {human_bytes(totals.bytes[label]):>10}"
    yield f"  transmuted     {totals.transmuted:>8}"
    yield f"  in both formats  {totals.both_forms:>8}"
    for host, count in totals.hosts.most_common():
        yield f"  from {host}: {count}"
    if totals.other:
        yield f"  {totals.other} objects beside them are not packages"
    for directory in totals.duplicates:
        yield f"  more than one hash: {directory}"
