"""`asynccache create`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asynccache.errors import UsageError
from asynccache_cli.options import (
    Items,
    arch_option,
    common_options,
    given_settings,
    kept,
    listed,
    quiet_option,
    run_verb,
    show,
    warn,
)
from asynccache_cli.progress import HydrateDisplay
from asynccache_cli.text import echo, human_bytes

if TYPE_CHECKING:
    from asynccache.api import Attempt, Created, Hydrated

_OF_ONE = {"name": "--name", "prefix": "--prefix", "into_dir": "--into-dir", "kernel": "--install-notebook"}


def _asked(
    ctx: click.Context, parameter: click.Parameter, value: Sequence[str]
) -> tuple[list[tuple[str, Path | None]], bool]:
    """Return environments, each with its prefix where standard input names one, and whether that was read."""
    found: list[tuple[str, Path | None]] = []
    for word in value:
        if word == "-":
            for line in filter(str.strip, listed(ctx, parameter, [word])):
                name, *prefix = line.split(maxsplit=1)
                found.append((name, Path(prefix[0].rstrip()) if prefix else None))
        else:
            found.append((word, None))
    return found, "-" in value


@click.command("create")
@click.argument("asked", metavar="ENV...", nargs=-1, required=True, callback=_asked)
@click.option("--name", help="Name among this machine's environments; default: one made of its ids.")
@click.option("--prefix", type=click.Path(file_okay=False, path_type=Path), help="Path, instead of a name.")
@click.option("--pathspec", is_flag=True, help="ENV is Flow/Run/Step; --into-dir then gets the step's code.")
@click.option(
    "--into-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to work in: a link to the environment's Python, the step's code, variables to read.",
)
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory for several: team/env:v1 becomes DIRECTORY/team_env_v1.",
)
@arch_option
@click.option("--force/--no-force", default=False, help="Create it again even if it exists.")
@click.option("--strict/--no-strict", default=True, help="Fail without the step's code or its run's Metaflow.")
@click.option("--install-notebook/--no-install-notebook", "kernel", default=False, help="Install a Jupyter kernel.")
@click.option("--bytecode/--no-bytecode", default=None, help="Compile its Python files; default: the setting.")
@click.option("--link-scripts/--no-link-scripts", default=None, help="Run packages' scripts; default: the setting.")
@quiet_option("Print the interpreter's path only.")
@common_options
def command(
    *,
    asked: tuple[list[tuple[str, Path | None]], bool],
    into: Path | None,
    force: bool,
    link_scripts: bool | None,
    bytecode: bool | None,
    **what: Any,
) -> None:
    """Hydrate an environment: fetch its packages, extract each once per node, link them, and install its wheels.

    The prefix is built in a temporary directory and appears whole or not at all. If several processes create it at
    once, one does the work and the others wait. An environment that already exists is used as it is.

    Several environments are created by one engine; if one fails, the others are still created. `-` reads a list from
    standard input, one per line: ENV, or ENV and its prefix, relative to --into if that is given.

    \b
    Examples:
      asynccache create team/env:v1
      asynccache create team/env:v1 --name train --install-notebook
      asynccache create --pathspec Flow/123/train --into-dir work
      asynccache create team/train:v1 team/serve:v2 --into envs
      asynccache create - < environments.txt
    """
    from asynccache.api import HydrateOptions  # noqa: PLC0415 - `--help` does without

    options = HydrateOptions(force, link_scripts, bytecode)
    environments, from_list = asked
    if len(environments) > 1 or from_list or into is not None:
        of_one = [option for name, option in _OF_ONE.items() if what[name]]
        if of_one:
            raise UsageError(
                f"{of_one[0]} is of one environment",
                hint="--into says where several are made, or a list on standard input where each is",
            )
        _create_all(environments, into=into, arch=what["arch"], pathspec=what["pathspec"], options=options)
        return
    ((environment, _prefix),) = environments
    made = run_verb(
        lambda session: session.create(environment, **what, options=options), display=HydrateDisplay(), known=True
    )
    show(made, _created)


def _create_all(environments: list[tuple[str, Path | None]], **how: Any) -> None:
    display, items = HydrateDisplay(), Items(_attempted)

    def show_one(each: Attempt) -> None:
        display.clear()
        items.show(each, failed=each.error is not None)

    done = run_verb(
        lambda session: session.create_all(*environments, **how, done=show_one), display=display, known=True
    )
    items.end()
    if kept("quiet") and not kept("json"):
        for each in done.results:  # in the order in which they were asked for
            if each.created is not None:
                echo(str(each.created.python))
    done.raise_for_failures()


def _attempted(each: Attempt) -> Iterator[str]:
    if each.created is not None:
        warn(*each.created.notes)
        if not kept("quiet"):
            yield f"{each.name}: {_hydrated(each.created.hydrated)}"


def _created(created: Created) -> Iterator[str]:
    warn(*created.notes)
    if kept("quiet"):
        yield str(created.python)
        return
    yield _hydrated(created.hydrated)
    if created.work is not None:
        yield f"Work in {created.work.directory}: `. ./metaflow_setup.sh` sets what the step's code needs"
    if created.kernel is not None:
        yield f"Jupyter kernel '{created.kernel.name}' installed at {created.kernel}"
    # another command finds it with the same settings
    settings = {name.replace("_", "-"): str(value) for name, value in given_settings().items() if value is not None}
    named = " ".join([shlex.quote(created.name), *(f"--{name} {shlex.quote(v)}" for name, v in settings.items())])
    yield f"Run in it with `asynccache run {named} -- COMMAND`, or `asynccache shell {named}`"


def _hydrated(done: Hydrated) -> str:
    if not done.created:
        waited = "made by another process meanwhile" if done.waited else "already created and valid"
        return f"Environment at '{done.prefix}' {waited}"
    how = "one packed object" if done.packed else f"{human_bytes(done.bytes)} of packages ({done.link_type})"
    return f"Environment created at '{done.prefix}' out of {how} in {done.seconds:.2f} s"
