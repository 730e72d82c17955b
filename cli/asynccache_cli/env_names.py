"""`asynccache env get`, `alias`, `history` and `rollback`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from asynccache_cli.options import arch_option, common_options, kept, run_verb, show
from asynccache_cli.text import table

if TYPE_CHECKING:
    from asynccache.api import Aliased, History, RolledBack, Taken


@click.command("get")
@click.argument("name", metavar="ENV")
@arch_option
@click.option("--default/--no-default", default=True, help="Make it what its request means on this machine.")
@common_options
def get(**what: Any) -> None:
    """Take an environment, for all architectures that it was resolved for together, into this machine's list.

    \b
    Example:
      asynccache env get team/env:v1
    """
    show(run_verb(lambda session: session.get(**what)), _taken)


def _taken(taken: Taken) -> Iterator[str]:
    how = ", as default" if taken.default else ""
    for environment in taken.environments:
        yield f"{environment.id} for {environment.id.arch} is in {taken.manifest}{how}"


@click.command("alias")
@click.argument("env")
@click.argument("names", metavar="NEW_ALIAS...", nargs=-1, required=True)
@common_options
def alias(*, env: str, names: tuple[str, ...]) -> None:
    """Give an environment names, for everybody who uses the store.

    The tags latest, candidate and stable can be moved later, with a history. Every other tag is given once: of many who
    try at once exactly one wins, and the others are told which environment has the name, and since when. Only an
    environment whose document is in the store gets a name; one that only this machine knows is published first.

    \b
    Examples:
      asynccache env alias team/env:latest team/env:v2
      asynccache env alias Flow/123/train team/env:stable
    """
    show(run_verb(lambda session: session.alias(env, *names)), _aliased).raise_for_failures()


def _aliased(result: Aliased) -> Iterator[str]:
    target = ":".join(result.ids)
    yield from (f"{name} is {target}" for name in result.changed)
    yield from (f"{name} was {target} already" for name in result.unchanged)


@click.command("history")
@click.argument("name", metavar="ALIAS")
@click.option("--repair", is_flag=True, help="Chain what is left of a broken history again.")
@common_options
def history(*, name: str, repair: bool) -> None:
    """Show every move of a name that moves: when, by whom, from, to; the last line is what it means now.

    Each entry names the one before by its digest, so an entry that was changed or removed is noticed. With --repair
    what is left is chained again; what the name means stays as it is.

    \b
    Example:
      asynccache env history team/env:latest
    """
    found = run_verb(lambda session: session.history(name, repair=repair))
    if kept("json"):
        for move in found.moves:
            click.echo(move.to_json().decode())
    else:
        click.echo(_moves(found))


def _moves(history: History) -> str:
    rows = [
        (str(m.number), m.when[:19].replace("T", " "), m.by, ":".join(m.source or "-"), ":".join(m.target))
        for m in history.moves
    ]
    return table(("MOVE", "WHEN (UTC)", "BY", "FROM", "TO"), rows, right=(0,))


@click.command("rollback")
@click.argument("name", metavar="ALIAS")
@click.option("--to", type=int, metavar="N", help="Number of the move to go back to; default: the last but one.")
@common_options
def rollback(*, name: str, to: int | None) -> None:
    """Let a name that moves mean again what it meant before. Going back is a move of its own in the history.

    \b
    Examples:
      asynccache env rollback team/env:latest
      asynccache env rollback team/env:latest --to 3
    """
    show(run_verb(lambda session: session.rollback(name, to=to)), _moved)


def _moved(moved: RolledBack) -> Iterator[str]:
    yield f"{moved.name} is {':'.join(moved.now)}, was {':'.join(moved.before) if moved.before else 'nothing'}"
