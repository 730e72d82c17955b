"""`asynccache env get`, `alias`, `history` and `rollback`."""

from __future__ import annotations

import json

import click

from asynccache_cli.options import arch_option, json_option, run_verb, store_options
from asynccache_cli.text import table


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
    taken = run_verb(ctx, flags, lambda session: session.get(env, arch=arch, default=default))
    if as_json:
        click.echo(json.dumps(taken.as_document()))
        return
    for environment in taken.environments:
        how = ", as default" if taken.default else ""
        click.echo(f"{environment.id} for {environment.id.arch} is in {taken.manifest}{how}")


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
    result = run_verb(ctx, flags, lambda session: session.alias(env, *names))
    if as_json:
        click.echo(json.dumps(result.as_document()))
    else:
        target = ":".join(result.ids)
        for name in result.changed:
            click.echo(f"{name} is {target}")
        for name in result.unchanged:
            click.echo(f"{name} was {target} already")
    result.raise_for_failures()


@click.command("history", short_help="Show every move of a name.")
@click.argument("name", metavar="ALIAS")
@click.option("--repair", is_flag=True, help="Chain what is left of a broken history again.")
@store_options
@json_option
@click.pass_context
def history(ctx: click.Context, /, *, name: str, repair: bool, as_json: bool, **flags: object) -> None:
    """Show every move of a name that moves: when, by whom, from, to; the last line is what it means now.

    Each entry names the one before by its digest, so an entry that was changed or removed is noticed. With --repair
    what is left is chained again; what the name means stays as it is.

    \b
    Example:
      asynccache env history team/env:latest
    """
    moves = run_verb(ctx, flags, lambda session: session.history(name, repair=repair)).moves
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
    moved = run_verb(ctx, flags, lambda session: session.rollback(name, to=number))
    if as_json:
        click.echo(json.dumps(moved.as_document()))
    else:
        before = ":".join(moved.before) if moved.before else "nothing"
        click.echo(f"{moved.name} is {':'.join(moved.now)}, was {before}")
