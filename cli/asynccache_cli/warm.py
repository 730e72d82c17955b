"""`asynccache warm`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from asynccache_cli.options import json_option, run_verb, store_options, warn
from asynccache_cli.pack_text import say_packed
from asynccache_cli.progress import ProgressDisplay
from asynccache_cli.text import human_bytes, short, table

if TYPE_CHECKING:
    from asynccache.api import Readiness, Target


@click.command("warm", short_help="Make environments ready: in the store, on this node, verified.")
@click.option("--env", "names", metavar="ENV", multiple=True, help="Environment; repeat for several.")
@click.option(
    "--arch", "arches", metavar="ARCH", multiple=True, help="Architecture; repeat for several; default: this one."
)
@click.option(
    "--to",
    type=click.Choice(["remote", "local", "both"]),
    default="both",
    show_default=True,
    help="Where packages shall be.",
)
@click.option(
    "--format",
    "fmt",
    type=click.Choice([".conda", ".tar.bz2", "none"]),
    metavar="[.conda|.tar.bz2|none]",
    help="Form that conda packages shall have; none: what the document records.",
)
@click.option("--verify/--no-verify", default=True, help="Read objects that this machine has never verified.")
@click.option("--pack/--no-pack", default=None, help="Put packed environments into the store too; else as configured.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@store_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    names: tuple[str, ...],
    arches: tuple[str, ...],
    to: Target,
    fmt: str | None,
    verify: bool,
    pack: bool | None,
    quiet: bool,
    as_json: bool,
    **flags: object,
) -> None:
    """Bring every package that environments need into the store (remote), onto this node (local), or both.

    All environments are one run over the packages that they need together. What the store has is found by listing it,
    whatever documents record; what it lacks or holds damaged comes from upstream. An environment that only this machine
    knows is published when its last package is there. The node's archives lie in `pkgs` below the cache directory.

    Into a store that other machines read (S3), packed environments are put as well, unless the setting pack is never.

    Ends with exit code 0 only when everything is there. A second call finds that, and takes no time.

    \b
    Examples:
      asynccache warm --env team/env:v1
      asynccache warm --env team/train:latest --env team/serve:latest --to remote --format .conda
      asynccache warm --env Flow/123/train --arch linux-64 --arch osx-arm64 --to remote --json
    """
    with ProgressDisplay(quiet=quiet or as_json) as display:
        warmed = run_verb(
            ctx,
            {"preferred_format": fmt, **flags},
            lambda session: session.warm(*names, arches=arches, to=to, verify=verify, pack=pack),
            emit=display.take,
            busy=True,
        )
    for note in warmed.notes:
        warn(note)
    if as_json:
        click.echo(json.dumps(warmed.as_document()))
    else:
        click.echo(_table(warmed.readiness))
        for each in warmed.packs.packs:
            say_packed(each)
    warmed.raise_for_failures()


def _table(readiness: Readiness) -> str:
    rows = [
        (
            row.name if len(row.name) < 60 else f"{short(row.id.req_id)}:{short(row.id.full_id)}",
            row.id.arch,
            f"{row.complete}/{row.packages}",
            human_bytes(row.bytes),
            ", ".join(f"{n} {source}" for source, n in sorted(row.sources.items())) or "-",
            f"{row.seconds:.2f}",
            f"{row.verified}/{row.packages}",
            "ready" if row.ready else "NOT READY",
        )
        for row in readiness.rows
    ]
    head = ("ENVIRONMENT", "ARCH", "PACKAGES", "BYTES", "FROM", "SECONDS", "VERIFIED", "")
    ready = sum(row.ready for row in readiness.rows)
    lines = [table(head, rows, right=(2, 3, 5, 6))]
    lines.append(
        f"{ready} of {len(readiness.rows)} environments ready, {readiness.distinct} distinct packages,"
        f" {human_bytes(readiness.fetched_bytes)} fetched, {readiness.seconds:.2f} s"
    )
    return "\n".join(lines)
