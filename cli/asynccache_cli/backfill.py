"""`asynccache backfill`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

import click

from asynccache_cli.cache import summary
from asynccache_cli.options import (
    added_up,
    allow_empty_option,
    common_options,
    kept,
    level_option,
    match_option,
    merge_options,
    pace_options,
    quiet_option,
    run_verb,
    shard_options,
    show,
    show_json,
    to_option,
    write_json,
)
from asynccache_cli.progress import events_or_progress
from asynccache_cli.text import echo, human_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from asynccache.api import Job, Plan, Shard


@click.command("backfill")
@to_option
@match_option
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--resume", is_flag=True, help="Continue after what the last interrupted run completed.")
@shard_options
@click.option(
    "--keys",
    default="",
    metavar="FILE|URL",
    help="List of keys to use instead of listing the store: S3 Inventory, `ls --keys`, or one key per line.",
)
@pace_options
@merge_options
@allow_empty_option
@level_option
@quiet_option()
@common_options
def command(
    *,
    to: str,
    allow_empty: bool,
    merge: int | None,
    report_file: Path | None,
    shard: Shard | None,
    run_id: str,
    **what: Any,
) -> None:
    """Add the other format of every conda package in a store, next to the published archive.

    Packages that have both formats are skipped, so after an interruption the same command does the rest. --resume also
    skips listing what is already done: it continues where the last run stopped, on whichever machine that was, and
    retries its failures first. The progress of each shard is kept in the store. With --run-id a shard always resumes,
    and does nothing once it is done.

    The exit code is 9 if no package in the store is selected, and 6 if --merge finds unfinished shards.

    \b
    Examples:
      asynccache backfill --store s3://bucket/conda_env --to .conda --dry-run
      asynccache backfill --store s3://bucket/conda_env --to .conda --shard 1/8 --resume
      asynccache backfill --store s3://bucket/conda_env --to .conda --keys keys.txt --rate 500/s
      asynccache backfill --store s3://bucket/conda_env --to .conda --merge 8 --report report.json
    """
    if merge is not None:
        _merge(to, what["pattern"], merge, run_id, what["keys"], report_file)
        return
    display = events_or_progress()
    result = run_verb(
        lambda session: session.backfill(
            to, found=_show_job, shard=shard, run_id=run_id, report=report_file is not None, **what
        ),
        display=display,
        busy=True,
    )
    report = result.report
    failed = report is not None and bool(report.failures)
    if kept("json"):
        show_json("result", result)
    else:
        lines = [_sentence(result.plan, to), *(summary(report) if report is not None else ())]
        echo("\n".join(lines), err=failed)
    if report_file is not None and result.run is not None:
        write_json(report_file, result.run)
    result.raise_for_failures(allow_empty=allow_empty)


def _merge(to: str, pattern: str | None, count: int, run_id: str, keys: str, file: Path | None) -> None:
    run = run_verb(lambda session: session.backfill_run(to, count, pattern=pattern, run_id=run_id, keys=keys))
    if file is not None:
        write_json(file, run)
    show(run, lambda run: added_up(run, "were transmuted", "had it")).raise_for_failures()


class Todo(TypedDict):
    """A package that lacks the wanted format, in a dry run.

    Attributes:
        url: Where it is published.
        bytes: Of the published archive; None if unknown.
    """

    url: str
    bytes: int | None


def _show_job(job: Job) -> None:
    size = job.package.digests.size
    if kept("json"):
        show_json("item", Todo(url=str(job.package.url), bytes=size))
    else:
        echo(f"{human_bytes(size or 0):>10}  {job.package.filename}")


def _sentence(plan: Plan, to: str) -> str:
    upstream = f", {plan.unpublished} of them from upstream" if plan.unpublished else ""
    return (
        f"{plan.todo} packages ({human_bytes(plan.todo_bytes)}) without a {to} archive{upstream};"
        f" {plan.complete} have it, {plan.skipped} are not selected"
    )
