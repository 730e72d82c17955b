"""`asynccache env get`, `alias`, `history` and `rollback`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from asynccache_cli.options import arch_option, common_options, run_verb, show, show_items
from asynccache_cli.text import table

if TYPE_CHECKING:
    from asynccache.api import Aliased, Move, RolledBack, Taken


@click.command("get")
@click.argument("name", metavar="ENV")
@arch_option
@click.option("--default/--no-default", default=True, help="Make it the local default for its requirements.")
@common_options
def get(**what: Any) -> None:
    """Add an environment to the local list, for all architectures that it was resolved for.

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
    """Give an environment aliases, for all users of the store.

    The tags latest, candidate and stable can be moved later; their history is kept. Every other tag is permanent: if
    several users claim it at once, exactly one wins, and the others see which environment has the alias and since when.
    Only an environment whose document is in the store can have an alias; a local one is published first.

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
@click.option("--repair", is_flag=True, help="Rebuild a broken history from its remaining entries.")
@common_options
def history(*, name: str, repair: bool) -> None:
    """Show every move of an alias: when, by whom, from, to; the last line is its current target.

    The digest, if it was known when the alias moved, pins the environment: ALIAS@sha256:DIGEST.

    Each entry contains the digest of the previous one, so changed or removed entries are detected. --repair rebuilds
    the chain from the remaining entries; the alias itself does not change.

    \b
    Example:
      asynccache env history team/env:latest
    """
    found = run_verb(lambda session: session.history(name, repair=repair))
    show_items(found.moves, _moves)


def _moves(moves: Sequence[Move]) -> Iterator[str]:
    rows = [
        (
            str(m.number),
            m.when[:19].replace("T", " "),
            m.by,
            ":".join(m.source or "-"),
            ":".join(m.target),
            " ".join(f"{arch}@sha256:{digest}" for arch, digest in m.digests.items()) or "-",
        )
        for m in moves
    ]
    yield table(("MOVE", "WHEN (UTC)", "BY", "FROM", "TO", "DIGEST"), rows, right=(0,))


@click.command("rollback")
@click.argument("name", metavar="ALIAS")
@click.option("--to", type=int, metavar="N", help="Number of the move to go back to; default: the last but one.")
@common_options
def rollback(*, name: str, to: int | None) -> None:
    """Move an alias back to an earlier environment. The history records this as a new move.

    \b
    Examples:
      asynccache env rollback team/env:latest
      asynccache env rollback team/env:latest --to 3
    """
    show(run_verb(lambda session: session.rollback(name, to=to)), _moved)


def _moved(moved: RolledBack) -> Iterator[str]:
    yield f"{moved.name} is {':'.join(moved.now)}, was {':'.join(moved.before) if moved.before else 'nothing'}"
