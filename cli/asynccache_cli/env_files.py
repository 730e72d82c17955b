"""`asynccache env export` and `import`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asynccache.api import EXPORT_FORMATS, format_names
from asynccache_cli.options import (
    arch_option,
    common_options,
    format_option,
    kept,
    lock_options,
    run_verb,
    show,
    show_json,
    warn,
)
from asynccache_cli.progress import ProgressDisplay
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from asynccache.api import Imported


@click.command("export")
@click.argument("env")
@click.option(
    "--format", "fmt", type=click.Choice(EXPORT_FORMATS), default="explicit", show_default=True, help="What to write."
)
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="File; default: standard output.")
@arch_option
@common_options
def export(*, env: str, fmt: str, output: Path | None, arch: str | None) -> None:
    """Write an environment for another tool.

    explicit: for `conda create --file` and `micromamba create -f`. conda-lock, pixi-lock, pylock.toml: lock files with
    the URLs and digests of one architecture. environment.yml: versions and builds. json: the document as it is stored,
    with its ids. What a format cannot express is reported on standard error.

    \b
    Examples:
      asynccache env export team/env:v1 > env.txt
      asynccache env export team/env:v1 --format conda-lock -o conda-lock.yml
    """
    result = run_verb(lambda session: session.export(env, fmt, arch=arch))
    for sentence in result.left_out:
        warn(sentence)
    if output is not None:
        result.write(output)
    if kept("json"):
        show_json("result", result)
    elif output is None:
        click.echo(result.text, nl=False)


@click.command("import")
@click.argument("file")
@click.option("--alias", "names", metavar="NAME[:TAG]", multiple=True, help="Alias to give it; can be repeated.")
@click.option(
    "--spec",
    "specs",
    metavar="CATEGORY::VALUE",
    multiple=True,
    help="A requirement; default: every package of the list.",
)
@click.option("--source", "sources", metavar="CATEGORY::VALUE", multiple=True, help="Channel or index, with --spec.")
@lock_options
@format_option("Format of conda packages to store besides the published one.")
@common_options
def import_(**what: Any) -> None:
    """Create an environment from a lock file or a list: cache its packages, publish its document, give it aliases.

    FILE is {locks}. A list says what was found; unless --spec says what was asked for, every package of it counts as
    asked for in its version, and its channels are those of its addresses. With several --arch the environments get one
    common id.

    \b
    Examples:
      asynccache env import conda-lock.yml --alias team/env:v1
      asynccache env import env.txt --spec 'conda::python==3.11.*' --spec conda::numpy --source conda::conda-forge
    """
    imported = run_verb(lambda session: session.import_environment(**what), display=ProgressDisplay())
    show(imported, _imported).raise_for_failures()


def _imported(result: Imported) -> Iterator[str]:
    for made in result.environments:
        yield f"{made.id} for {made.id.arch}: {len(made.packages)} packages, {human_bytes(result.bytes)} in all"
    for name in result.names:
        yield f"{name} is {result.environments[0].id}"
    if result.digest:
        yield f"Digest sha256:{result.digest}"


import_.help = (import_.help or "").format(locks=format_names(lock=True))
