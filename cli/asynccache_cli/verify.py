"""`asynccache verify`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from asynccache.errors import UsageError
from asynccache_cli.options import allow_empty_option, common_options, match_option, run_verb, show
from asynccache_cli.progress import Counter
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from asynccache.api import Audit


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
@click.option("--seed", default="", help="Which objects a sample takes; another text takes others.")
@click.option("--quarantine", is_flag=True, help="Quarantine damaged objects, so that `cache` brings them anew.")
@allow_empty_option
@common_options
def command(*, allow_empty: bool, **what: Any) -> None:
    """Read every archive of a store and compare its digest with its key, and with its receipt when it was transmuted.

    Without --match and --sample, the documents and names of environments are read as well: each document whose
    packages are not all there is reported, with what is missing; and packed environments are read and digested. Ends
    with exit code 5 when an object is damaged, and with 9 when nothing was read: then nothing is known to be right.
    Nothing is changed without --quarantine, and nothing is ever deleted.

    \b
    Examples:
      asynccache verify
      asynccache verify --store s3://bucket/conda_env --sample 5%
    """
    with Counter() as counter:
        result = run_verb(lambda session: session.verify(checked=counter.add, **what))
    show(result, _read).raise_for_failures(allow_empty=allow_empty)


def _read(result: Audit) -> Iterator[str]:
    found, environments = result.archives, result.environments
    yield from map(str, found.damaged)
    sampled = f", {found.skipped} not in the sample" if found.skipped else ""
    yield (
        f"{found.checked} archives, {human_bytes(found.bytes)} read and digested{sampled};"
        f" {len(found.damaged)} damaged, {found.without_receipt} transmuted ones without a receipt"
    )
    yield from map(str, environments.damaged)
    if environments.documents or environments.names:
        packs = f", {environments.packs} packs ({human_bytes(environments.pack_bytes)})" if environments.packs else ""
        yield f"{environments.documents} documents and {environments.names} names of environments{packs} read"
