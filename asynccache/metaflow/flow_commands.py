"""`python flow.py --environment=conda environment resolve|show` (contract, section 6.2).

Imported wherever a flow runs: standard library and Metaflow only, Python 3.7; what commands do is elsewhere.
"""

from __future__ import annotations

from typing import Any

from metaflow._vendor import click


@click.group()
def cli() -> None:
    """Commands that Metaflow adds to a flow's."""


@cli.group(help="Commands on the environments of the flow's steps.")
@click.option(
    "--quiet/--no-quiet",
    default=False,
    show_default=True,
    help="Print lines for programs only, as the flow's own --quiet does.",
)
@click.pass_obj
def environment(obj: Any, quiet: bool) -> None:  # noqa: D103 - click shows the help above
    from asynccache.metaflow.flow_work import check_type  # noqa: PLC0415

    check_type(obj)
    obj.asynccache_quiet = quiet or obj.is_quiet


@environment.command(help="Resolve the environments of the flow's steps, all of them when none is named.")
@click.argument("steps-to-resolve", required=False, nargs=-1)
@click.option("--alias", "aliases", multiple=True, help="Name to give to what is resolved; can be repeated.")
@click.option("--force/--no-force", default=False, show_default=True, help="Resolve although it is known.")
@click.option("--dry-run/--no-dry-run", default=False, show_default=True, help="Write nothing.")
@click.option("--arch", multiple=True, help="Architecture to resolve for; can be repeated.")
@click.option("--output", default=None, help="File that gets the result as JSON.")
@click.pass_obj
def resolve(  # noqa: D103 - click shows the help above
    obj: Any, steps_to_resolve: Any, aliases: Any, force: bool, dry_run: bool, arch: Any, output: Any
) -> None:
    from asynccache.metaflow.flow_work import resolve_flow  # noqa: PLC0415

    resolve_flow(obj, steps=steps_to_resolve, aliases=aliases, force=force, dry_run=dry_run, arches=arch, output=output)


@environment.command(help="Show what the flow's steps ask for, and the environments that are known for it.")
@click.argument("steps-to-show", required=False, nargs=-1)
@click.option("--local-only/--no-local-only", default=False, show_default=True, help="Look on this machine only.")
@click.option("--output", default=None, help="File that gets the result as JSON.")
@click.pass_obj
def show(obj: Any, steps_to_show: Any, local_only: bool, output: Any) -> None:  # noqa: D103 - click shows the help
    from asynccache.metaflow.flow_work import show_flow  # noqa: PLC0415

    show_flow(obj, steps=steps_to_show, local_only=local_only, output=output)
