"""`asynccache backfill`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from asynccache_cli.cache import summary
from asynccache_cli.options import json_option, parse_shard, run_verb, store_options
from asynccache_cli.progress import reporting
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from asynccache.api import Job, Plan


@click.command("backfill", short_help="Give every conda package of a store its other form.")
@click.option("--to", required=True, type=click.Choice([".conda", ".tar.bz2"]), help="The form to make.")
@click.option(
    "--match", "pattern", metavar="GLOB", help="Only packages whose file name (or key, with a slash) matches."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.option("--resume", is_flag=True, help="Go on behind what the last interrupted run on this machine completed.")
@click.option("--shard", metavar="I/N", help="Do the I-th of N parts; the parts may run on different machines at once.")
@click.option("--allow-empty", is_flag=True, help="Succeed although there is no package to look at.")
@click.option("--level", type=int, help="zstd level of written .conda archives.")
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
    allow_empty: bool,
    level: int | None,
    quiet: bool,
    as_json: bool,
    **flags: object,
) -> None:
    """Give every conda package of a store its other form, beside the published one.

    Packages that have both forms are passed over, so running again after any interruption does the rest. --resume
    saves looking again at what lies behind: it goes on where this machine's last run stopped, its failures first.

    Ends with exit code 9 when the store has no package that is meant.

    \b
    Examples:
      asynccache backfill --store s3://bucket/conda_env --to .conda --dry-run
      asynccache backfill --store s3://bucket/conda_env --to .conda --shard 1/8 --resume
    """
    part = parse_shard(shard)

    def show(job: Job) -> None:
        size = job.package.digests.size
        if as_json:
            click.echo(json.dumps({"event": "Todo", "url": str(job.package.url), "bytes": size}))
        else:
            click.echo(f"{human_bytes(size or 0):>10}  {job.package.filename}")

    with reporting(quiet=quiet, as_json=as_json) as take:
        result = run_verb(
            ctx,
            {**flags, "zstd_level": level},
            lambda session: session.backfill(
                to, pattern=pattern, shard=part, resume=resume, dry_run=dry_run, found=show
            ),
            emit=take,
            busy=True,
        )
    plan, report = result.plan, result.report
    failed = report is not None and bool(report.failures)
    if as_json:
        click.echo(json.dumps({"event": "Plan" if report is None else "Receipt", **result.as_document()}))
    else:
        click.echo(_sentence(plan, to), err=failed)
        if report is not None:
            click.echo(summary(report), err=failed)
    result.raise_for_failures(allow_empty=allow_empty)


def _sentence(plan: Plan, to: str) -> str:
    upstream = f", {plan.unpublished} of them from upstream" if plan.unpublished else ""
    return (
        f"{plan.todo} packages ({human_bytes(plan.todo_bytes)}) without a {to} form{upstream};"
        f" {plan.complete} have it, {plan.skipped} are not selected"
    )
