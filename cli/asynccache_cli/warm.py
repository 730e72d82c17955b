"""`asynccache warm`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import get_args

import click

from asynccache.config import Settings
from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.errors import UsageError
from asynccache.hydrate.package_directory import DIRNAME
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.platform import checked_architecture, current_architecture
from asynccache.ops.environments import Environments
from asynccache.ops.pack_cached import PacksMade, pack_cached, packs_wanted
from asynccache.ops.warm import Readiness, Target, Warm
from asynccache_cli.env_options import warn_of_doubts
from asynccache_cli.options import json_option, parse_format, run_async, settings_from, store_options, warn
from asynccache_cli.pack_text import say_packed
from asynccache_cli.progress import ProgressDisplay
from asynccache_cli.text import human_bytes, short, table


@click.command("warm", short_help="Make environments ready: in the store, on this node, verified.")
@click.option("--env", "names", metavar="ENV", multiple=True, help="Environment; repeat for several.")
@click.option(
    "--arch", "arches", metavar="ARCH", multiple=True, help="Architecture; repeat for several; default: this one."
)
@click.option(
    "--to", type=click.Choice(get_args(Target)), default="both", show_default=True, help="Where packages shall be."
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
    settings = settings_from(ctx, preferred_format=parse_format(fmt), **flags).settings
    if not names:
        raise UsageError(
            "there is nothing to warm", hint="name an environment with --env; `asynccache env ls` lists them"
        )
    chosen: list[str | None] = [checked_architecture(a) for a in arches] or [None]
    readiness, packs, _found = run_async(
        warm_environments(settings, names, chosen, to=to, verify=verify, pack=pack, quiet=quiet or as_json)
    )
    if as_json:
        shown = {"store": str(settings.root), "to": to, "node": str(settings.cache_dir / DIRNAME)}
        packed = [each.as_document() for each in packs.packs]
        click.echo(json.dumps({**shown, **readiness.as_document(), "packs": packed}))
    else:
        click.echo(_table(readiness))
        for each in packs.packs:
            say_packed(each)
    readiness.raise_for_failures()
    for env_id, error in packs.failed.items():
        if pack:
            raise error
        warn(f"{env_id} for {env_id.arch} has no pack, so it is made from packages: {error}")


async def warm_environments(
    settings: Settings,
    names: Sequence[str],
    arches: Sequence[str | None],
    *,
    to: Target,
    verify: bool = True,
    pack: bool | None = None,
    quiet: bool = False,
) -> tuple[Readiness, PacksMade, list[ResolvedEnvironment]]:
    """Find environments, warm and pack them; None as architecture means this machine's, as `pack`: as configured."""
    packing = to != "local" and (packs_wanted(settings) if pack is None else pack)
    wanted = settings.wanted_format
    with ProgressDisplay(quiet=quiet) as display:

        def take(event: events.Event) -> None:
            display.take(event)

        async with AsyncExitStack() as stack:
            engine = await stack.enter_async_context(Engine(settings, emit=take))
            aside = None
            if to == "local" and settings.store:
                # this node alone is asked for: what the store lacks does not enter it
                aside = await stack.enter_async_context(Engine(replace(settings, store=None), emit=take))
            catalog = Environments(settings, engine.store, warn)
            found = [
                (name, await catalog.find(name, arch or current_architecture())) for name in names for arch in arches
            ]
            for _name, environment in found:
                warn_of_doubts(environment)
            warming = Warm(engine, catalog, to=to, wanted=wanted, fetch_with=aside, verify=verify)
            readiness = await warming.run(found)
            environments = [environment for _name, environment in found]
            if not packing or not all(row.ready for row in readiness.rows):
                return readiness, PacksMade(), environments
            return readiness, await pack_cached(engine, environments, verify=verify), environments


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
    lines += [f"damaged object set aside as {key}" for key in readiness.damaged]
    lines.append(
        f"{ready} of {len(readiness.rows)} environments ready, {readiness.distinct} distinct packages,"
        f" {human_bytes(readiness.fetched_bytes)} fetched, {readiness.seconds:.2f} s"
    )
    return "\n".join(lines)
