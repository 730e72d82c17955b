"""`asynccache env export` and `import`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from asynccache.api import EXPORT_FORMATS, format_names
from asynccache_cli.options import arch_option, json_option, run_verb, store_options, warn
from asynccache_cli.progress import reporting
from asynccache_cli.text import human_bytes


@click.command("export", short_help="Write an environment as a list, a lock or a document.")
@click.argument("env")
@click.option(
    "--format", "fmt", type=click.Choice(EXPORT_FORMATS), default="explicit", show_default=True, help="What to write."
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
    result = run_verb(ctx, flags, lambda session: session.export(env, fmt, arch=arch))
    for sentence in result.left_out:
        warn(sentence)
    if output is not None:
        result.write(output)
    if as_json:
        shown = result.as_document()
        if output is not None:
            del shown["text"]
            shown["file"] = str(output)
        click.echo(json.dumps(shown))
    elif output is None:
        click.echo(result.text, nl=False)


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
    with reporting(quiet=as_json, as_json=False) as take:
        result = run_verb(
            ctx,
            {**flags, "preferred_format": fmt},
            lambda session: session.import_environment(
                file,
                names=names,
                arches=arches,
                specs=specs,
                sources=sources,
                environment=environment,
                python=python,
            ),
            emit=take,
        )
    if as_json:
        click.echo(json.dumps(result.as_document()))
    else:
        size = human_bytes(result.bytes)
        for made in result.environments:
            click.echo(f"{made.id} for {made.id.arch}: {len(made.packages)} packages, {size} in all")
        for name in result.names:
            click.echo(f"{name} is {result.environments[0].id}")
    result.raise_for_failures()


import_.help = (import_.help or "").format(locks=format_names(lock=True))
