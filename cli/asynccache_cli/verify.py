"""`asynccache verify`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from asynccache.errors import UsageError
from asynccache_cli.options import (
    allow_empty_option,
    check_with_option,
    common_options,
    match_option,
    merge_options,
    run_verb,
    shard_options,
    show,
    write_json,
)
from asynccache_cli.progress import Counter
from asynccache_cli.text import human_bytes, unrecorded

if TYPE_CHECKING:
    from pathlib import Path

    from asynccache.api import Shard, StoreVerification, VerifyRun


def parse_share(text: str) -> float:
    """Read `5%` or `0.05`.

    Raises:
        UsageError: Anything else.
    """
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise UsageError("--sample is wrong", expected="a share such as 5% or 0.05", found=repr(text)) from None


@click.command("verify")
@match_option
@click.option("--sample", type=parse_share, metavar="SHARE", default="100%", help="Read only a share: 5% or 0.05.")
@click.option("--seed", default="", help="Seed of the sample; another text selects other objects.")
@click.option("--quarantine", is_flag=True, help="Quarantine damaged objects, so that `cache` fetches them again.")
@click.option("--adopt", is_flag=True, help="Compare each transmuted archive with the published one; write receipts.")
@check_with_option
@shard_options
@merge_options
@allow_empty_option
@common_options
def command(
    *, allow_empty: bool, merge: int | None, report_file: Path | None, shard: Shard | None, **what: Any
) -> None:
    """Read every archive in a store and compare its digest with its key, and with its receipt if it was transmuted.

    Without --match and --sample, the documents and aliases of environments are checked as well: a document with missing
    packages is reported, and packs are read and digested. The exit code is 5 if an object is damaged, and 9 if nothing
    was read, because then nothing is known to be right.

    With --adopt, each transmuted archive is also compared with the published one, member by member: this machine then
    uses it, and it gets a receipt; if the content differs, it counts as damaged. With --check-with, each archive that
    asynccache wrote is compared with the published one by asynccache and by the named program; if either finds a
    difference, it counts as damaged.

    Of several shards the first one also checks environments. With --run-id an interrupted run or shard continues where
    it stopped, on any machine, and first retries what could not be read. A record of what was found is stored: --merge
    prints the totals of all shards. Nothing else is changed without --quarantine or --adopt, and nothing is ever
    deleted.

    \b
    Examples:
      asynccache verify
      asynccache verify --store s3://bucket/conda_env --sample 5%
      asynccache verify --store s3://bucket/conda_env --shard 2/8
      asynccache verify --store s3://bucket/conda_env --merge 8 --report report.json
    """

    def add_up(count: int) -> VerifyRun:
        run = run_verb(lambda session: session.verify_run(count, **what))
        if report_file is not None:
            write_json(report_file, run)
        return run

    if merge is not None:
        show(add_up(merge), _added_up).raise_for_failures(allow_empty=allow_empty)
        return
    with Counter() as counter:
        result = run_verb(lambda session: session.verify(shard=shard, checked=counter.add, total=counter.wants, **what))
    if report_file is not None:
        add_up(shard.count if shard is not None else 1)
    show(result, _read).raise_for_failures(allow_empty=allow_empty)


def _added_up(run: VerifyRun) -> Iterator[str]:
    yield f"{run.shards - len(run.unfinished)} of {run.shards} shards done"
    yield from _read(run.verification)


def _read(result: StoreVerification) -> Iterator[str]:
    found, environments = result.archives, result.environments
    yield from map(str, found.damaged)
    sampled = f", {found.skipped} not in the sample" if found.skipped else ""
    yield (
        f"{found.checked} archives, {human_bytes(found.bytes)} read and digested{sampled};"
        f" {len(found.damaged)} damaged, {found.without_receipt} transmuted ones without a receipt"
    )
    if found.compared or found.uncompared:
        yield f"{found.compared} transmuted archives hold what the published ones hold"
    yield from (f"{key} was not compared: {error}" for key, error in found.uncompared.items())
    yield from map(str, environments.damaged)
    if environments.documents or environments.names:
        packs = f", {environments.packs} packs ({human_bytes(environments.pack_bytes)})" if environments.packs else ""
        yield f"{environments.documents} documents and {environments.names} names of environments{packs} read"
    yield from unrecorded(result)
