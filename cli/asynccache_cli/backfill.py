"""`asynccache backfill`."""

from __future__ import annotations

import json

import click

from asynccache.config import Settings
from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.engine.report import Report
from asynccache.model.package import Format
from asynccache.ops.backfill import Backfill, Plan, Selection
from asynccache_cli.cache import summary
from asynccache_cli.options import json_option, parse_shard, run_async, settings_from, store_options
from asynccache_cli.progress import ProgressDisplay
from asynccache_cli.text import human_bytes


@click.command("backfill", short_help="Give every conda package of a store its other form.")
@click.option("--to", required=True, type=click.Choice([".conda", ".tar.bz2"]), help="The form to make.")
@click.option(
    "--match", "pattern", metavar="GLOB", help="Only packages whose file name (or key, with a slash) matches."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.option("--resume", is_flag=True, help="Go on behind what the last interrupted run on this machine completed.")
@click.option("--shard", metavar="I/N", help="Do the I-th of N parts; the parts may run on different machines at once.")
@click.option("--level", type=click.IntRange(1, 22), help="zstd level of written .conda archives.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@store_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    to: str,
    pattern: str | None,
    dry_run: bool,
    resume: bool,
    shard: str | None,
    level: int | None,
    quiet: bool,
    as_json: bool,
    **flags: object,
) -> None:
    """Give every conda package of a store its other form, beside the published one.

    Packages that have both forms are passed over, so running again after any interruption does the rest. --resume
    saves looking again at what lies behind: it goes on where this machine's last run stopped, its failures first.

    \b
    Examples:
      asynccache backfill --store s3://bucket/conda_env --to .conda --dry-run
      asynccache backfill --store s3://bucket/conda_env --to .conda --shard 1/8 --resume
    """
    settings = settings_from(ctx, zstd_level=level, **flags).settings
    selection = Selection(Format(to), pattern, parse_shard(shard))
    if dry_run:
        plan = run_async(_plan(settings, selection, as_json=as_json))
        click.echo(json.dumps({"event": "Plan", **plan.as_document()}) if as_json else _sentence(plan, to))
        return
    report, plan = run_async(_run(settings, selection, resume=resume, quiet=quiet, as_json=as_json))
    if as_json:
        document = {"event": "Receipt", "store": str(settings.root), "plan": plan.as_document()}
        click.echo(json.dumps({**document, **report.as_document(packages=False)}))
    else:
        click.echo(_sentence(plan, to), err=bool(report.failures))
        click.echo(summary(report, str(settings.root)), err=bool(report.failures))
    report.raise_for_failures()


def _sentence(plan: Plan, to: str) -> str:
    upstream = f", {plan.unpublished} of them from upstream" if plan.unpublished else ""
    return (
        f"{plan.todo} packages ({human_bytes(plan.todo_bytes)}) without a {to} form{upstream};"
        f" {plan.complete} have it, {plan.skipped} are not selected"
    )


async def _plan(settings: Settings, selection: Selection, *, as_json: bool) -> Plan:
    async with Engine(settings) as engine:
        backfill = Backfill(engine, selection)
        async for job in backfill.todo():
            size = job.package.digests.size
            if as_json:
                click.echo(json.dumps({"event": "Todo", "url": str(job.package.url), "bytes": size}))
            else:
                click.echo(f"{human_bytes(size or 0):>10}  {job.package.filename}")
        return backfill.plan


async def _run(
    settings: Settings, selection: Selection, *, resume: bool, quiet: bool, as_json: bool
) -> tuple[Report, Plan]:
    with ProgressDisplay(quiet=quiet or as_json) as display:

        def take(event: events.Event) -> None:
            if as_json:
                click.echo(json.dumps(event.as_document()))
            else:
                display.take(event)

        async with Engine(settings, emit=take) as engine:
            backfill = Backfill(engine, selection)
            return await backfill.run(resume=resume), backfill.plan
