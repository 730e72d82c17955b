"""`asynccache backfill`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from asynccache_cli.cache import summary
from asynccache_cli.options import (
    allow_empty_option,
    common_options,
    kept,
    level_option,
    match_option,
    parse_shard,
    quiet_option,
    run_verb,
    show_json,
    to_option,
)
from asynccache_cli.progress import events_or_progress
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from asynccache.api import Job, Plan


@click.command("backfill")
@to_option
@match_option
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.option("--resume", is_flag=True, help="Go on behind what the last interrupted run on this machine completed.")
@click.option(
    "--shard",
    type=parse_shard,
    metavar="I/N",
    help="Do the I-th of N parts; the parts may run on different machines at once.",
)
@allow_empty_option
@level_option
@quiet_option()
@common_options
def command(*, to: str, allow_empty: bool, **what: Any) -> None:
    """Give every conda package of a store its other form, beside the published one.

    Packages that have both forms are passed over, so running again after any interruption does the rest. --resume
    saves looking again at what lies behind: it goes on where this machine's last run stopped, its failures first.

    Ends with exit code 9 when the store has no package that is meant.

    \b
    Examples:
      asynccache backfill --store s3://bucket/conda_env --to .conda --dry-run
      asynccache backfill --store s3://bucket/conda_env --to .conda --shard 1/8 --resume
    """
    display = events_or_progress()
    result = run_verb(lambda session: session.backfill(to, found=_show_job, **what), display=display, busy=True)
    report = result.report
    failed = report is not None and bool(report.failures)
    if kept("json"):
        show_json({"event": "Plan" if report is None else "Receipt", **result.as_document()})
    else:
        lines = [_sentence(result.plan, to), *(summary(report) if report is not None else ())]
        click.echo("\n".join(lines), err=failed)
    result.raise_for_failures(allow_empty=allow_empty)


def _show_job(job: Job) -> None:
    size = job.package.digests.size
    if kept("json"):
        show_json({"event": "Todo", "url": str(job.package.url), "bytes": size})
    else:
        click.echo(f"{human_bytes(size or 0):>10}  {job.package.filename}")


def _sentence(plan: Plan, to: str) -> str:
    upstream = f", {plan.unpublished} of them from upstream" if plan.unpublished else ""
    return (
        f"{plan.todo} packages ({human_bytes(plan.todo_bytes)}) without a {to} form{upstream};"
        f" {plan.complete} have it, {plan.skipped} are not selected"
    )
