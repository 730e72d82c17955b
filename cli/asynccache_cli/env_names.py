"""`asynccache env get`, `alias`, `history` and `rollback`."""

from __future__ import annotations

import json

import click

from asynccache.catalog.aliases import Move
from asynccache.config import Settings
from asynccache.errors import ObjectNotFoundError, PartialFailureError, UsageError
from asynccache.model.alias import Alias
from asynccache.model.environment import ResolvedEnvironment
from asynccache.ops.environments import Aliased
from asynccache_cli.env_options import arch_option, architecture_of, open_environments, table, warn_of_doubts
from asynccache_cli.options import json_option, run_async, settings_from, store_options


@click.command("get", short_help="Take an environment into this machine's list.")
@click.argument("env")
@arch_option
@click.option("--default/--no-default", default=True, help="Make it what its request means on this machine.")
@store_options
@json_option
@click.pass_context
def get(ctx: click.Context, /, *, env: str, arch: str | None, default: bool, as_json: bool, **flags: object) -> None:
    """Take an environment, for all architectures that it was resolved for together, into this machine's list.

    \b
    Example:
      asynccache env get team/env:v1
    """
    settings = settings_from(ctx, **flags).settings
    taken, place = run_async(_get(settings, env, architecture_of(arch), default=default))
    for environment in taken:
        warn_of_doubts(environment)
    if as_json:
        rows = [[e.id.req_id, e.id.full_id, e.id.arch] for e in taken]
        click.echo(json.dumps({"manifest": place, "environments": rows, "default": default}))
        return
    for environment in taken:
        click.echo(f"{environment.id} for {environment.id.arch} is in {place}{', as default' if default else ''}")


async def _get(settings: Settings, env: str, arch: str, *, default: bool) -> tuple[list[ResolvedEnvironment], str]:
    async with open_environments(settings) as catalog:
        return await catalog.get(env, arch, default=default), str(catalog.manifest.path)


@click.command("alias", short_help="Give an environment names.")
@click.argument("env")
@click.argument("names", metavar="NEW_ALIAS...", nargs=-1, required=True)
@store_options
@json_option
@click.pass_context
def alias(ctx: click.Context, /, *, env: str, names: tuple[str, ...], as_json: bool, **flags: object) -> None:
    """Give an environment names, for everybody who uses the store.

    The tags latest, candidate and stable can be moved later, with a history. Every other tag is given once: of many who
    try at once exactly one wins, and the others are told which environment has the name, and since when. Only an
    environment whose document is in the store gets a name; one that only this machine knows is published first.

    \b
    Examples:
      asynccache env alias team/env:latest team/env:v2
      asynccache env alias Flow/123/train team/env:stable
    """
    settings = settings_from(ctx, **flags).settings
    result = run_async(_alias(settings, env, names))
    target = ":".join(result.ids)
    if as_json:
        document = {"req_id": result.ids[0], "full_id": result.ids[1], "changed": [str(n) for n in result.changed]}
        failed = {name: error.as_document() for name, error in result.failed.items()}
        click.echo(json.dumps({**document, "unchanged": [str(n) for n in result.unchanged], "failed": failed}))
    else:
        for name in result.changed:
            click.echo(f"{name} is {target}")
        for name in result.unchanged:
            click.echo(f"{name} was {target} already")
    if len(result.failed) == 1:
        raise next(iter(result.failed.values()))
    if result.failed:
        raise PartialFailureError(f"{len(result.failed)} of {len(names)} names were not given", result.failed)


async def _alias(settings: Settings, env: str, names: tuple[str, ...]) -> Aliased:
    async with open_environments(settings) as catalog:
        return await catalog.alias(env, names)


@click.command("history", short_help="Show every move of a name.")
@click.argument("name", metavar="ALIAS")
@store_options
@json_option
@click.pass_context
def history(ctx: click.Context, /, *, name: str, as_json: bool, **flags: object) -> None:
    """Show every move of a name that moves: when, by whom, from, to; the last line is what it means now.

    Each entry names the one before by its digest, so an entry that was changed or removed is noticed.

    \b
    Example:
      asynccache env history team/env:latest
    """
    moves = run_async(_history(settings_from(ctx, **flags).settings, name))
    if as_json:
        for move in moves:
            click.echo(move.to_json().decode())
        return
    rows = [
        (
            str(m.number),
            m.when[:19].replace("T", " "),
            m.by,
            ":".join(m.source) if m.source else "-",
            ":".join(m.target),
        )
        for m in moves
    ]
    click.echo(table(("MOVE", "WHEN (UTC)", "BY", "FROM", "TO"), rows, right=(0,)))


async def _history(settings: Settings, name: str) -> list[Move]:
    async with open_environments(settings) as catalog:
        alias_ = Alias.parse(name)
        if not alias_.mutable:
            _, ids = await catalog.lookup.named(name)
            raise UsageError(
                f"{alias_} is immutable: it stands for {':'.join(ids)} and never moved",
                expected="latest, candidate, stable",
            )
        moves = await catalog.aliases.history(alias_) if catalog.aliases is not None else []
        if not moves:
            await catalog.lookup.named(name)  # says near names when there is none
            raise ObjectNotFoundError(f"{alias_} has no history in the store", hint="it is known to this machine only")
        return moves


@click.command("rollback", short_help="Move a name back.")
@click.argument("name", metavar="ALIAS")
@click.option(
    "--to", "number", type=int, metavar="N", help="Number of the move to go back to; default: the last but one."
)
@store_options
@json_option
@click.pass_context
def rollback(ctx: click.Context, /, *, name: str, number: int | None, as_json: bool, **flags: object) -> None:
    """Let a name that moves mean again what it meant before. Going back is a move of its own in the history.

    \b
    Examples:
      asynccache env rollback team/env:latest
      asynccache env rollback team/env:latest --to 3
    """
    now, before = run_async(_rollback(settings_from(ctx, **flags).settings, name, number))
    if as_json:
        click.echo(json.dumps({"name": str(Alias.parse(name)), "from": before, "to": now}))
    else:
        click.echo(f"{Alias.parse(name)} is {':'.join(now)}, was {':'.join(before) if before else 'nothing'}")


async def _rollback(
    settings: Settings, name: str, number: int | None
) -> tuple[tuple[str, str], tuple[str, str] | None]:
    async with open_environments(settings) as catalog:
        return await catalog.rollback(name, number)
