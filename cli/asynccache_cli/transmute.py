"""`asynccache transmute`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asynccache_cli.options import json_option, run_verb
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from asynccache.api import Conversion


@click.command("transmute", short_help="Convert archives between .tar.bz2 and .conda, member by member.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Choice([".conda", ".tar.bz2"]), help="The form to make.")
@click.option("--level", type=int, help="zstd level of written .conda archives; default 3.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Directory for the results.")
@click.option("--verify/--no-verify", default=None, help="Compare every member of source and result (default: yes).")
@click.option("--jobs", "-j", type=int, help="Cores to use; default: all.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    files: tuple[Path, ...],
    to: str,
    level: int | None,
    out: Path | None,
    verify: bool | None,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Convert conda packages between their two forms, exactly: names, order, types, modes, times, links, digests.

    The result lies beside its source, or in --out. A file that cannot be converted exactly is refused and nothing
    is written for it; the others are converted all the same.

    \b
    Examples:
      asynccache transmute *.tar.bz2 --to .conda
      asynccache transmute numpy-1.26.4-py311h64a7726_0.conda --to .tar.bz2 --out converted
    """

    def show(result: Conversion) -> None:
        if as_json:
            click.echo(json.dumps(result.as_document()))
        elif result.receipt is not None:
            receipt = result.receipt
            click.echo(
                f"{result.source.name} ({human_bytes(receipt.source.size or 0)}) -> {result.target}"
                f" ({human_bytes(receipt.derived.size or 0)}), {receipt.members} members"
                f" {'verified' if receipt.verified else 'not verified'}"
            )

    settings = {"zstd_level": level, "verify_transmute": verify, "cpu_slots": jobs}
    results = run_verb(ctx, settings, lambda session: session.transmute(*files, to=to, out=out, done=show))
    results.raise_for_failures()
