"""`asynccache env ls`, `show` and `diff`."""

from __future__ import annotations

import json

import click

from asynccache.api import Listed
from asynccache.errors import UsageError
from asynccache_cli.options import arch_option, json_option, run_listing, run_verb, store_options
from asynccache_cli.text import human_bytes, moment, short, table


@click.command("ls", short_help="List environments.")
@click.argument("pattern", required=False)
@click.option("--local", "only_local", is_flag=True, help="Only what this machine's list has.")
@click.option("--remote", "only_remote", is_flag=True, help="Only what the store has.")
@click.option("--arch", metavar="ARCH", help="Only of this architecture.")
@click.option("--by", "user", metavar="USER", help="Only what this user resolved.")
@store_options
@json_option
@click.pass_context
def ls(
    ctx: click.Context,
    /,
    *,
    pattern: str | None,
    only_local: bool,
    only_remote: bool,
    arch: str | None,
    user: str | None,
    as_json: bool,
    **flags: object,
) -> None:
    """List the environments that this machine's list and the store have, the latest resolution first.

    PATTERN is a shell pattern for a name, or the beginning of an id. Where: L in this machine's list (* its default for
    that request), R in the store. With --json a line of JSON per environment.

    \b
    Examples:
      asynccache env ls 'team/*'
      asynccache env ls --remote --by ann --arch linux-64
    """
    if only_local and only_remote:
        raise UsageError("--local and --remote exclude each other", hint="leave both out to see everything")
    rows: list[Listed] = []
    run_listing(
        ctx,
        flags,
        lambda session: session.list_environments(
            pattern, arch=arch, by=user, local=not only_remote, remote=not only_local
        ),
        rows.append,
    )
    if as_json:
        for row in rows:
            click.echo(json.dumps(row.as_document()))
        return
    lines = [
        (
            ", ".join(map(str, row.names)) or "-",
            f"{short(row.summary.id.req_id)}:{short(row.summary.id.full_id)}",
            row.summary.id.arch,
            ("*" if row.default else "L" if row.local else "-") + ("R" if row.remote else "-"),
            str(row.summary.packages),
            row.summary.type or "unreadable",
            moment(row.summary.resolved_on),
            row.summary.resolved_by,
        )
        for row in rows
    ]
    if lines:
        click.echo(
            table(("NAMES", "REQ:FULL", "ARCH", "WHERE", "PACKAGES", "TYPE", "RESOLVED", "BY"), lines, right=(4,))
        )
    click.echo(f"{len(lines)} environments", err=True)


@click.command("show", short_help="Show an environment.")
@click.argument("env")
@arch_option
@click.option("--packages/--no-packages", default=True, help="List the packages.")
@store_options
@json_option
@click.pass_context
def show(ctx: click.Context, /, *, env: str, arch: str | None, packages: bool, as_json: bool, **flags: object) -> None:
    """Show what an environment was asked for, what it holds, and how it is called.

    ENV is team/env:TAG, REQ:FULL, a full id, Flow/Run/Step, or the path of a document (.json).

    \b
    Examples:
      asynccache env show team/env:v1
      asynccache env show Flow/123/train --arch linux-64
    """
    shown = run_verb(ctx, flags, lambda session: session.show(env, arch=arch))
    if as_json:
        click.echo(json.dumps(shown.as_document()))
        return
    environment = shown.environment
    request = environment.request
    fields = [
        ("environment", str(environment.id)),
        ("names", ", ".join(map(str, shown.names)) or "none"),
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
    for name, text in fields:
        click.echo(f"{name:<{width}}  {text}")
    if packages:
        rows = [(p.kind, p.filename, p.url_format, " ".join(sorted(p.cached)) or "-") for p in environment.packages]
        click.echo()
        click.echo(table(("KIND", "PACKAGE", "PUBLISHED", "RECORDED IN THE STORE"), rows))


@click.command("diff", short_help="Compare two environments.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@arch_option
@store_options
@json_option
@click.pass_context
def diff(ctx: click.Context, /, *, first: str, second: str, arch: str | None, as_json: bool, **flags: object) -> None:
    """Compare two environments package by package: added, removed, changed, with the sizes that the store has.

    \b
    Example:
      asynccache env diff team/env:stable team/env:candidate
    """
    difference = run_verb(ctx, flags, lambda session: session.diff(first, second, arch=arch))
    if as_json:
        click.echo(json.dumps(difference.as_document()))
        return
    for mark, change in difference.marked():
        size = human_bytes(change.bytes) if change.bytes is not None else "-"
        click.echo(f"{mark} {change.name:<32} {change.before or '-':<28} {change.after or '-':<28} {size:>10}")
    total = difference.bytes
    click.echo(
        f"{len(difference.added)} added, {len(difference.removed)} removed, {len(difference.changed)} changed,"
        f" {difference.same} the same" + (f"; {human_bytes(total)} to bring" if total else "")
    )
