"""`metaflow environment` and its short form `metaflow env` (contract, section 6.1).

Imported whenever `metaflow` is run: standard library and Metaflow only; what commands do is elsewhere.
"""

from __future__ import annotations

from typing import Any

from metaflow._vendor import click
from metaflow.exception import MetaflowException

from asynccache.node.store_kinds import DATASTORES

_FILE = click.Path(exists=True, dir_okay=False, allow_dash=True)
_PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


@click.group()
def cli() -> None:
    """Commands of the extension."""


@click.group()
def short_cli() -> None:
    """The same under a shorter name."""


@cli.group(help="Commands on environments.")
@click.option("--quiet/--no-quiet", default=False, show_default=True, help="Print lines for programs only.")
@click.option("--metadata", default=None, help="Metadata provider that knows the runs.")
@click.option(
    "--datastore",
    default=None,
    type=click.Choice([*DATASTORES, "spin"]),
    help="Datastore type, which selects the root.",
)
@click.option("--environment", type=click.Choice(["conda"]), default="conda", hidden=True, expose_value=False)
@click.option("--conda-root", default=None, help="Root of the cache, instead of the configured one.")
@click.option("--quiet-file-output", default=None, hidden=True, help="File that gets the lines for programs, too.")
@click.pass_context
def environment(  # noqa: D103 - click shows the help above
    ctx: Any, quiet: bool, metadata: Any, datastore: Any, conda_root: Any, quiet_file_output: Any
) -> None:
    from asynccache.metaflow.engine_available import require_engine  # noqa: PLC0415

    try:
        require_engine()
    except MetaflowException as exc:
        raise click.ClickException(str(exc)) from exc
    from asynccache.metaflow.command_work import Work  # noqa: PLC0415

    # what `spin` steps keep is on this machine, too
    datastore = "local" if datastore == "spin" else datastore
    ctx.obj = Work(
        quiet=quiet, metadata=metadata, datastore=datastore, conda_root=conda_root, quiet_file=quiet_file_output
    )


@environment.command(help="Resolve an environment.")
@click.option("--alias", "aliases", multiple=True, help="Name to give to the result; can be repeated.")
@click.option("--force/--no-force", default=False, show_default=True, help="Resolve although it is known.")
@click.option("--local-only/--non-local", default=False, show_default=True, help="Look on this machine only.")
@click.option("--dry-run/--no-dry-run", default=False, show_default=True, help="Write nothing.")
@click.option("--set-default/--no-set-default", default=True, show_default=True, help="Make it what is used from now.")
@click.option(
    "--skip-metaflow-deps/--no-skip-metaflow-deps",
    default=False,
    show_default=True,
    help="Leave out what Metaflow itself needs.",
)
@click.option("--arch", "arches", multiple=True, help="Architecture; can be repeated to resolve them together.")
@click.option("--python", default=None, help="Constraint of Python, such as '3.10.*'.")
@click.option("-r", "--requirement", default=None, type=_FILE, help="requirements.txt.")
@click.option("-f", "--file", "yml", default=None, type=_FILE, help="environment.yml.")
@click.option("-p", "--pyproject", default=None, type=_FILE, help="pyproject.toml.")
@click.option("--using", default=None, help="Extend this environment.")
@click.option("--using-pathspec", default=None, help="Extend the environment of this step.")
@click.option("--from", "source", default=None, help="Resolve the requirements of this environment again.")
@click.option("--from-pathspec", default=None, help="Resolve the requirements of this step's environment again.")
@click.pass_obj
def resolve(work: Any, **options: Any) -> None:  # noqa: D103 - click shows the help above
    work.resolve(**options)


@environment.command(help="Show environments.")
@click.option("--local-only/--non-local", default=False, show_default=True, help="Look on this machine only.")
@click.option("--arch", default=None, help="Architecture; default: this machine's.")
@click.option("--pathspec", is_flag=True, default=False, help="The names are steps.")
@click.argument("envs", required=True, nargs=-1)
@click.pass_obj
def show(work: Any, **options: Any) -> None:  # noqa: D103 - click shows the help above
    work.show(**options)


@environment.command(help="Add an environment to the local list.")
@click.option("--default/--no-default", default=True, show_default=True, help="Make it what is used from now.")
@click.option("--arch", default=None, help="Architecture; default: this machine's.")
@click.option("--pathspec", is_flag=True, default=False, help="The name is a step.")
@click.argument("env")
@click.pass_obj
def get(work: Any, **options: Any) -> None:  # noqa: D103 - click shows the help above
    work.get(**options)


@environment.command(help="Give a name to an environment.")
@click.option("--local-only/--non-local", default=False, show_default=True, help="Look on this machine only.")
@click.option("--pathspec", is_flag=True, default=False, help="SOURCE_ENV is a step.")
@click.argument("source-env")
@click.argument("alias")
@click.pass_obj
def alias(work: Any, **options: Any) -> None:  # noqa: D103 - click shows the help above
    work.alias(**options)


@environment.command(help="Create an environment on this machine.")
@click.option("--name", default=None, help="Its name; default: one made of its ids.")
@click.option("--local-only/--non-local", default=False, show_default=True, help="Look on this machine only.")
@click.option("--force/--no-force", default=False, show_default=True, help="Make it again.")
@click.option("--exist-ok/--no-exist-ok", default=False, show_default=True, help="Use one of that name if it is equal.")
@click.option("--arch", default=None, help="Architecture; default: this machine's.")
@click.option("--strict/--no-strict", default=True, show_default=True, help="Fail without its code or its Metaflow.")
@click.option("--into-dir", default=None, help="Directory to work in: the environment's Python and the step's code.")
@click.option("--install-notebook/--no-install-notebook", default=False, help="Install a Jupyter kernel.")
@click.option("--pathspec", is_flag=True, default=False, help="ENV is a step.")
@click.argument("env")
@click.pass_obj
def create(work: Any, **options: Any) -> None:  # noqa: D103 - click shows the help above
    work.create(**options)


def _passed_on(name: str, words: tuple[str, ...], text: str) -> None:
    @environment.command(name=name, help=text, context_settings=_PASS_ON, add_help_option=False)
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    @click.pass_obj
    def command(work: Any, arguments: Any) -> None:
        work.pass_on([*words, *arguments])


_passed_on("ls", ("env", "ls"), "List environments.")
_passed_on("diff", ("env", "diff"), "Compare two environments.")
_passed_on("history", ("env", "history"), "Show how a name moved.")
_passed_on("warm", ("warm",), "Make environments ready before they are needed.")
_passed_on("config", ("config",), "Show every setting, its value and where the value comes from.")
short_cli.add_command(environment, "env")
