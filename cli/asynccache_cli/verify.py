"""`asynccache verify`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from asynccache.errors import UsageError
from asynccache_cli.counter import Counter
from asynccache_cli.options import json_option, run_verb, store_options
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from asynccache.api import StoredArchive


@click.command("verify", short_help="Read and digest the packages of a store.")
@click.option(
    "--match", "pattern", metavar="GLOB", help="Only archives whose file name (or key, with a slash) matches."
)
@click.option("--sample", metavar="SHARE", default="100%", help="Read only a share: 5% or 0.05.")
@click.option("--seed", default="", help="Which objects a sample takes; another text takes others.")
@click.option("--quarantine", is_flag=True, help="Quarantine damaged objects, so that `cache` brings them anew.")
@click.option("--allow-empty", is_flag=True, help="Succeed although there is nothing to read.")
@store_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    pattern: str | None,
    sample: str,
    seed: str,
    quarantine: bool,
    allow_empty: bool,
    as_json: bool,
    **flags: object,
) -> None:
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
    share = _share(sample)
    with Counter("verified", quiet=as_json) as counter:

        def count(item: StoredArchive) -> None:
            counter.add(item.info.size)

        result = run_verb(
            ctx,
            flags,
            lambda session: session.verify(pattern, sample=share, seed=seed, quarantine=quarantine, checked=count),
        )
    if as_json:
        click.echo(json.dumps(result.as_document()))
    else:
        found, environments = result.archives, result.environments
        for damage in found.damaged:
            click.echo(str(damage))
        sampled = f", {found.skipped} not in the sample" if found.skipped else ""
        click.echo(
            f"{found.checked} archives, {human_bytes(found.bytes)} read and digested{sampled};"
            f" {len(found.damaged)} damaged, {found.without_receipt} transmuted ones without a receipt"
        )
        for problem in environments.damaged:
            click.echo(str(problem))
        if environments.documents or environments.names:
            read = (
                f", {environments.packs} packs ({human_bytes(environments.pack_bytes)})" if environments.packs else ""
            )
            click.echo(f"{environments.documents} documents and {environments.names} names of environments{read} read")
    result.raise_for_failures(allow_empty=allow_empty)


def _share(text: str) -> float:
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise UsageError("--sample is wrong", expected="a share such as 5% or 0.05", found=repr(text)) from None
