"""`asynccache replicate`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asynccache_cli.options import (
    added_up,
    json_option,
    kept,
    merge_options,
    pace_options,
    place_options,
    quiet_option,
    run_verb,
    shard_options,
    show,
    show_json,
    write_json,
)
from asynccache_cli.progress import events_or_progress
from asynccache_cli.text import human_bytes, unrecorded

if TYPE_CHECKING:
    from asynccache.api import BackfillRun, ReplicaFinding, Replicated, Shard


@click.command("replicate")
@click.option("--from", "source", metavar="ROOT", required=True, help="Store to copy from; it is only read.")
@click.option("--to", "target", metavar="ROOT", required=True, help="Store to copy to.")
@click.option(
    "--env",
    "environments",
    metavar="ALIAS",
    multiple=True,
    help="Only this environment (alias or ids); repeat for several.",
)
@click.option("--aliases", is_flag=True, help="Only environments that aliases refer to now.")
@click.option("--move-aliases", is_flag=True, help="Also move aliases that have been moved in the target since.")
@click.option("--dry-run", is_flag=True, help="Only show what would be copied.")
@shard_options
@merge_options
@pace_options
@quiet_option()
@place_options
@json_option
def command(
    *,
    source: str,
    target: str,
    merge: int | None,
    report_file: Path | None,
    shard: Shard | None,
    run_id: str,
    **what: Any,
) -> None:
    """Copy packages, environments and aliases from one store to another, of any kind.

    Nothing is overwritten, and every object is verified against its key on the way. The target is listed first, so
    after an interruption the same command copies the rest. Packages are copied first and aliases last, so everything
    that an alias refers to is there when it appears. An alias that is behind is moved forward; one that was moved in
    the target stays and is reported.

    With --shard only a part of the packages is copied; the shard that finishes last copies documents and aliases.

    The exit code is not 0 if something could not be copied or differs in the target.

    \b
    Examples:
      asynccache replicate --from s3://bucket/conda_env --to s3://elsewhere/conda_env --dry-run
      asynccache replicate --from s3://bucket/conda_env --to az://container/conda_env --aliases
      asynccache replicate --from s3://bucket/conda_env --to ./mirror --env team/train:stable
      asynccache replicate --from s3://bucket/conda_env --to gs://bucket/conda_env --shard 1/8 --run-id 2026-01
    """
    chosen = {"store": target}
    some = {name: what[name] for name in ("environments", "aliases")}

    def add_up(count: int) -> BackfillRun:
        run = run_verb(lambda session: session.replicate_run(source, count, run_id=run_id, **some), chosen=chosen)
        if report_file is not None:
            write_json(report_file, run)
        return run

    if merge is not None:
        show(add_up(merge), lambda run: added_up(run, "were copied", "were there")).raise_for_failures()
        return
    display = events_or_progress()

    def say(finding: ReplicaFinding) -> None:
        if kept("json"):
            show_json("item", finding)
        else:
            display.say(str(finding))

    result = run_verb(
        lambda session: session.replicate(source, shard=shard, run_id=run_id, found=say, **what),
        display=display,
        busy=True,
        chosen=chosen,
    )
    if report_file is not None:
        add_up(shard.count if shard is not None else 1)
    show(result, _summary).raise_for_failures()


def _summary(result: Replicated) -> Iterator[str]:
    done = "would be copied" if result.dry_run else "copied"
    for kind, tally in result.objects.items():
        yield f"{kind:<9} {tally.copied} {done} ({human_bytes(tally.bytes)}), {tally.there} were there"
    if result.unfinished:
        shards = ", ".join(map(str, result.unfinished[:10])) + (", ..." if len(result.unfinished) > 10 else "")
        yield f"documents and names come with the last shard; not done yet: {shards}"
    yield from unrecorded(result)
