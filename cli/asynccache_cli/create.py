"""`asynccache create`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asynccache_cli.options import arch_option, common_options, given_settings, kept, quiet_option, run_verb, show, warn
from asynccache_cli.progress import HydrateDisplay
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from asynccache.api import Created, Hydrated


@click.command("create")
@click.argument("environment", metavar="ENV")
@click.option("--name", help="Name among this machine's environments; default: one made of its ids.")
@click.option("--prefix", type=click.Path(file_okay=False, path_type=Path), help="Path, instead of a name.")
@click.option("--pathspec", is_flag=True, help="ENV is Flow/Run/Step; --into-dir then gets the step's code.")
@click.option(
    "--into-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to work in: a link to the environment's Python, the step's code, variables to read.",
)
@arch_option
@click.option("--force/--no-force", default=False, help="Make it anew although there is an environment.")
@click.option("--strict/--no-strict", default=True, help="Fail when the step has no code package.")
@click.option("--install-notebook/--no-install-notebook", "kernel", default=False, help="Install a Jupyter kernel.")
@click.option("--bytecode/--no-bytecode", default=None, help="Compile its Python files; default: the setting.")
@click.option("--link-scripts/--no-link-scripts", default=None, help="Run packages' scripts; default: the setting.")
@quiet_option("Print the interpreter's path only.")
@common_options
def command(*, force: bool, link_scripts: bool | None, bytecode: bool | None, **what: Any) -> None:
    """Hydrate an environment: fetch its packages, extract each once on this machine, link them, install its wheels.

    It is made beside its place and appears whole or not at all. Of several processes that create it at once, one works
    and the others wait. An environment that is there already is used as it is.

    \b
    Examples:
      asynccache create team/env:v1
      asynccache create team/env:v1 --name train --install-notebook
      asynccache create --pathspec Flow/123/train --into-dir work
    """
    from asynccache.api import HydrateOptions  # noqa: PLC0415 - `--help` does without

    options = HydrateOptions(force, link_scripts, bytecode)
    show(run_verb(lambda session: session.create(**what, options=options), display=HydrateDisplay()), _created)


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
