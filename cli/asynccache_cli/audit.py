"""`asynccache audit`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from asynccache_cli.options import (
    common_options,
    kept,
    merge_options,
    quiet_option,
    run_verb,
    shard_options,
    show,
    show_json,
    write_json,
)
from asynccache_cli.progress import Counter
from asynccache_cli.text import echo, human_bytes, unrecorded
from asynccache_cli.verify import parse_share

if TYPE_CHECKING:
    from pathlib import Path

    from asynccache.api import Audit, AuditFinding, AuditRun, Shard


@click.command("audit")
@click.option(
    "--read-data",
    type=parse_share,
    metavar="SHARE",
    is_flag=False,
    flag_value="100%",
    default="0",
    help="Also read and digest archives: all of them, or a share such as 5%.",
)
@click.option("--seed", default="", help="Seed of the sample; another text selects other archives.")
@click.option("--repair", is_flag=True, help="Repair what can be repaired, and report what cannot.")
@click.option(
    "--from", "others", metavar="ROOT", multiple=True, help="With --repair: a store to take archives from; repeat."
)
@shard_options
@merge_options
@quiet_option()
@common_options
def command(
    *, merge: int | None, report_file: Path | None, shard: Shard | None, others: tuple[str, ...], **what: Any
) -> None:
    """Check that a store is consistent: archives, receipts, documents, aliases and packs.

    Takes one request per thousand objects, and one for each document, alias and pack. Findings are printed as they are
    made. The exit code is 5 if a finding would affect a user of the store.

    --repair restores missing or damaged objects from the stores named with --from, from the package's other format, or
    from upstream; a damaged archive is quarantined first. It writes receipts for transmuted archives whose content
    matches the published archive, repairs aliases from their history, and deletes empty objects. What only takes up
    space is left: archives that no document refers to, and receipts without an archive.

    Each shard lists a range of archives and receipts, and reads all documents; the first one also checks aliases, packs
    and uploads. A shard stores its findings: --merge prints the findings of all shards and their totals. With --run-id
    a shard that is done prints its findings and does nothing else.

    \b
    Examples:
      asynccache audit --store s3://bucket/conda_env
      asynccache audit --store s3://bucket/conda_env --read-data=5%
      asynccache audit --store s3://bucket/conda_env --repair --from s3://elsewhere/conda_env
      asynccache audit --store s3://bucket/conda_env --run-id june --shard 2/8
      asynccache audit --store s3://bucket/conda_env --run-id june --merge 8 --report report.json
    """
    with Counter() as counter:

        def say(finding: AuditFinding) -> None:
            counter.clear()
            if kept("json"):
                show_json("item", finding)
            else:
                echo(str(finding))

        result: Audit | None = None
        run: AuditRun | None
        if merge is not None:
            run = run_verb(lambda session: session.audit_run(merge, found=say, **what))
        else:
            result = run_verb(
                lambda session: session.audit(
                    shard=shard,
                    others=others,
                    report=report_file is not None,
                    found=say,
                    checked=counter.add,
                    total=counter.wants,
                    **what,
                )
            )
            run = result.run
    if report_file is not None and run is not None:
        write_json(report_file, run)
    if result is not None:
        show(result, _summary).raise_for_failures()
    elif run is not None:
        show(run, _added_up).raise_for_failures()


def _added_up(run: AuditRun) -> Iterator[str]:
    yield f"{run.shards - len(run.unfinished)} of {run.shards} shards done"
    yield from _summary(run.audit)


def _summary(result: Audit) -> Iterator[str]:
    yield (
        f"{result.archives} archives ({human_bytes(result.bytes)}), {result.receipts} receipts, {result.documents}"
        f" documents, {result.names} names, {result.packs} packs"
        + (f"; {result.read.checked} archives read" if result.read is not None else "")
    )
    for kind, count in sorted(result.found.items()):
        mended = f", {result.mended[kind]} mended" if result.mended[kind] else ""
        yield f"{count:>8}  {kind}{mended}"
    yield from unrecorded(result)
