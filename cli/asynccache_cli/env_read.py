"""`asynccache env ls`, `show` and `diff`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from asynccache.errors import UsageError
from asynccache_cli.options import arch_option, common_options, kept, run_listing, run_verb, show_items
from asynccache_cli.options import show as show_result
from asynccache_cli.text import echo, human_bytes, moment, short_ids, table

if TYPE_CHECKING:
    from asynccache.api import Difference, Listed, ResolvedEnvironment, Shown


@click.command("ls")
@click.argument("pattern", required=False)
@click.option("--local", "only_local", is_flag=True, help="Only local environments.")
@click.option("--remote", "only_remote", is_flag=True, help="Only what the store has.")
@click.option("--arch", metavar="ARCH", help="Only of this architecture.")
@click.option("--by", metavar="USER", help="Only what this user resolved.")
@common_options
def ls(*, pattern: str | None, only_local: bool, only_remote: bool, arch: str | None, by: str | None) -> None:
    """List the environments known to this machine and to the store, most recently resolved first.

    PATTERN is a shell pattern for an alias, or the beginning of an id. Where: L means local (* the default for that
    request), R means in the store. With --json each environment is one line of JSON; the last line is the count.

    \b
    Examples:
      asynccache env ls 'team/*'
      asynccache env ls --remote --by ann --arch linux-64
    """
    if only_local and only_remote:
        raise UsageError("--local and --remote exclude each other", hint="leave both out to see everything")
    rows: list[Listed] = []
    run_listing(
        lambda session: session.list_environments(
            pattern, arch=arch, by=by, local=not only_remote, remote=not only_local
        ),
        rows.append,
    )
    show_items(rows, _listed)
    if not kept("json"):
        echo(f"{len(rows)} environments", err=True)


def _listed(rows: Sequence[Listed]) -> Iterator[str]:
    if rows:
        head = ("NAMES", "REQ:FULL", "ARCH", "WHERE", "PACKAGES", "TYPE", "RESOLVED", "BY")
        yield table(head, map(_cells, rows), right=(4,))


def _cells(row: Listed) -> tuple[str, ...]:
    return (
        ", ".join(map(str, row.names)) or "-",
        short_ids(row.summary.id),
        row.summary.id.arch,
        ("*" if row.default else "L" if row.local else "-") + ("R" if row.remote else "-"),
        str(row.summary.packages),
        row.summary.type or "unreadable",
        moment(row.summary.resolved_on),
        row.summary.resolved_by,
    )


@click.command("show")
@click.argument("env")
@arch_option
@click.option("--packages/--no-packages", default=True, help="List the packages.")
@common_options
def show(*, env: str, arch: str | None, packages: bool) -> None:
    """Show the requirements of an environment, its packages and its aliases.

    ENV is team/env:TAG, REQ:FULL, a full id, Flow/Run/Step, or the path of a document (.json).

    \b
    Examples:
      asynccache env show team/env:v1
      asynccache env show Flow/123/train --arch linux-64
    """
    shown = show_result(run_verb(lambda session: session.show(env, arch=arch)), _shown)
    if packages and not kept("json"):
        echo("\n" + _packages(shown.environment))


def _shown(shown: Shown) -> Iterator[str]:
    environment = shown.environment
    request = environment.request
    fields = [
        ("environment", str(environment.id)),
        ("names", ", ".join(map(str, shown.names)) or "none"),
        ("digest", f"sha256:{shown.digest}" if shown.digest else "none: `asynccache warm` finds it out"),
        ("architecture", environment.id.arch),
        ("available on", ", ".join(environment.resolved_archs)),
        ("type", environment.environment_type),
        ("resolved", f"{environment.resolved_on.isoformat(' ')} by {environment.resolved_by}"),
        *((f"asked for ({category})", ", ".join(values)) for category, values in request.deps.items()),
        *((f"from ({category})", ", ".join(values)) for category, values in environment.shown_sources.items()),
        *((f"flags ({category})", ", ".join(values)) for category, values in request.extras.items()),
        *environment.unique_keys.items(),
    ]
    width = max(len(name) for name, _ in fields)
    yield from (f"{name:<{width}}  {text}" for name, text in fields)


def _packages(environment: ResolvedEnvironment) -> str:
    rows = [(p.kind, p.filename, p.url_format, " ".join(sorted(p.cached)) or "-") for p in environment.packages]
    return table(("KIND", "PACKAGE", "PUBLISHED", "RECORDED IN THE STORE"), rows)


@click.command("diff")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@arch_option
@common_options
def diff(*, first: str, second: str, arch: str | None) -> None:
    """Compare two environments package by package: added, removed, changed, with the sizes that the store has.

    \b
    Example:
      asynccache env diff team/env:stable team/env:candidate
    """
    show_result(run_verb(lambda session: session.diff(first, second, arch=arch)), _difference)


def _difference(difference: Difference) -> Iterator[str]:
    for mark, change in difference.marked():
        size = human_bytes(change.bytes) if change.bytes is not None else "-"
        yield f"{mark} {change.name:<32} {change.before or '-':<28} {change.after or '-':<28} {size:>10}"
    total = difference.bytes
    yield (
        f"{len(difference.added)} added, {len(difference.removed)} removed, {len(difference.changed)} changed,"
        f" {difference.same} the same" + (f"; {human_bytes(total)} to bring" if total else "")
    )
