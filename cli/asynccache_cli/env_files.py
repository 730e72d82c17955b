"""`asynccache env export` and `import`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asynccache.api import format_names
from asynccache.catalog.export import FORMATS, Export
from asynccache.catalog.export import export as write_export
from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.errors import DiskError, UsageError
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import Request
from asynccache.model.package import Package
from asynccache.model.platform import checked_architecture
from asynccache.ops.environments import Environments
from asynccache.ops.import_environment import Imported, import_environment, packages_of, request_of
from asynccache_cli.env_options import architecture_of, open_environments
from asynccache_cli.options import arch_option, json_option, parse_format, run_async, settings_from, store_options, warn
from asynccache_cli.progress import ProgressDisplay
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from asynccache.api import Warmed


@click.command("export", short_help="Write an environment as a list, a lock or a document.")
@click.argument("env")
@click.option(
    "--format", "fmt", type=click.Choice(FORMATS), default="explicit", show_default=True, help="What to write."
)
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="File; default: standard output.")
@arch_option
@store_options
@json_option
@click.pass_context
def export(
    ctx: click.Context,
    /,
    *,
    env: str,
    fmt: str,
    output: Path | None,
    arch: str | None,
    as_json: bool,
    **flags: object,
) -> None:
    """Write an environment for another tool.

    explicit: for `conda create --file`, `micromamba create -f`. conda-lock, pixi-lock, pylock.toml: locks with the
    addresses and digests of one architecture. environment.yml: versions and builds. json: the document as it is stored,
    with its identity. What a format cannot hold is said on standard error.

    \b
    Examples:
      asynccache env export team/env:v1 > env.txt
      asynccache env export team/env:v1 --format conda-lock -o conda-lock.yml
    """
    settings = settings_from(ctx, **flags).settings
    result = run_async(_export(settings, env, fmt, architecture_of(arch)))
    for sentence in result.left_out:
        warn(sentence)
    if output is not None:
        try:
            output.write_text(result.text, "utf-8")
        except OSError as exc:
            raise DiskError(f"{output} cannot be written ({exc.strerror})", hint="check the path") from exc
    if as_json:
        shown = {"format": fmt, "left_out": result.left_out}
        click.echo(json.dumps({**shown, "file": str(output)} if output else {**shown, "text": result.text}))
    elif output is None:
        click.echo(result.text, nl=False)


async def _export(settings: Settings, env: str, fmt: str, arch: str) -> Export:
    async with open_environments(settings) as catalog:
        return write_export(await catalog.find(env, arch), fmt)


@click.command("import", short_help="Make an environment of a lock or a list.")
@click.argument("file")
@click.option("--alias", "names", metavar="NAME[:TAG]", multiple=True, help="Name to give it; can be repeated.")
@click.option("--arch", "arches", multiple=True, help="Platform to take; repeat for several; default: this one.")
@click.option(
    "--spec", "specs", metavar="CATEGORY::VALUE", multiple=True, help="What was asked for; default: the list."
)
@click.option("--source", "sources", metavar="CATEGORY::VALUE", multiple=True, help="Channel or index, with --spec.")
@click.option("--environment", help="Environment to take from a pixi.lock; default: `default`.")
@click.option("--python", help="Python version to choose wheels of a uv.lock or pylock.toml for; default: this one.")
@click.option(
    "--format",
    "fmt",
    type=click.Choice([".conda", ".tar.bz2", "none"]),
    metavar="[.conda|.tar.bz2|none]",
    help="Form of conda packages to store besides the published one.",
)
@store_options
@json_option
@click.pass_context
def import_(
    ctx: click.Context,
    /,
    *,
    file: str,
    names: tuple[str, ...],
    arches: tuple[str, ...],
    specs: tuple[str, ...],
    sources: tuple[str, ...],
    environment: str | None,
    python: str | None,
    fmt: str | None,
    as_json: bool,
    **flags: object,
) -> None:
    """Make an environment of a lock or a list: cache its packages, publish its document, give it names.

    FILE is {locks}. A list says what was found; unless --spec says what was asked for, every package of it counts as
    asked for in its version, and its channels are those of its addresses. With several --arch the environments get one
    common id.

    \b
    Examples:
      asynccache env import conda-lock.yml --alias team/env:v1
      asynccache env import env.txt --spec 'conda::python==3.11.*' --spec conda::numpy --source conda::conda-forge
    """
    settings = settings_from(ctx, preferred_format=parse_format(fmt), **flags).settings
    if sources and not specs:
        raise UsageError("--source goes with --spec", hint="say with --spec what was asked for")
    if file.endswith(".json"):
        arch = checked_architecture(arches[0]) if arches else None
        _import_document(settings, file, names, arch, as_json=as_json)
        return
    lists = packages_of(file, arches, environment=environment, python=python)
    request = request_of(specs, sources) if specs else None
    result = run_async(_import(settings, lists, names, request, quiet=as_json))
    _tell(result, as_json=as_json)


import_.help = (import_.help or "").format(locks=format_names(lock=True))


def _import_document(settings: Settings, file: str, names: Sequence[str], arch: str | None, *, as_json: bool) -> None:
    """Publish a document: what it names is brought first."""
    from asynccache.api import Session  # noqa: PLC0415 - needs everything that warming needs

    async def warm() -> Warmed:
        with ProgressDisplay(quiet=as_json) as display:
            async with Session(settings, emit=display.take, say=warn) as session:
                return await session.warm(file, arches=[arch] if arch else [], to="remote")

    warmed = run_async(warm())
    warmed.raise_for_failures()
    ids = warmed.environments[0].id
    for note in warmed.notes:
        warn(note)
    run_async(_keep_and_name(settings, warmed.environments[0], names))
    if as_json:
        click.echo(json.dumps({"req_id": ids.req_id, "full_id": ids.full_id, "arch": ids.arch, "names": list(names)}))
    else:
        click.echo(f"{ids} for {ids.arch} is published{' as ' if names else ''}{', '.join(names)}")


async def _keep_and_name(settings: Settings, environment: ResolvedEnvironment, names: Sequence[str]) -> None:
    async with open_environments(settings) as catalog:
        await catalog.keep([environment], default=True)
        if names:
            for error in (await catalog.alias(str(environment.id), names)).failed.values():
                raise error


async def _import(
    settings: Settings,
    lists: Mapping[str, Sequence[Package]],
    names: Sequence[str],
    request: Request | None,
    *,
    quiet: bool,
) -> Imported:
    wanted = settings.wanted_format
    with ProgressDisplay(quiet=quiet) as display:
        async with Engine(settings, emit=display.take) as engine:
            catalog = Environments(settings, engine.store, warn)
            return await import_environment(engine, catalog, lists, names=names, request=request, wanted=wanted)


def _tell(result: Imported, *, as_json: bool) -> None:
    failed = result.aliased.failed if result.aliased else {}
    given = [str(n) for n in (*result.aliased.changed, *result.aliased.unchanged)] if result.aliased else []
    if as_json:
        rows = [{"req_id": e.id.req_id, "full_id": e.id.full_id, "arch": e.id.arch} for e in result.environments]
        shown = {"environments": rows, "names": given, "failed": {n: e.as_document() for n, e in failed.items()}}
        click.echo(json.dumps({**shown, "run": result.report.as_document(packages=False)}))
    else:
        for environment in result.environments:
            size = human_bytes(sum(f.size for o in result.report.outcomes for f in o.forms))
            click.echo(
                f"{environment.id} for {environment.id.arch}: {len(environment.packages)} packages, {size} in all"
            )
        for name in given:
            click.echo(f"{name} is {result.environments[0].id}")
    for error in failed.values():
        raise error
