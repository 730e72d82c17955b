"""`asynccache verify`."""

from __future__ import annotations

import json

import click

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.errors import IntegrityError, PartialFailureError, UsageError
from asynccache.ops.contents import StoredObject
from asynccache.ops.verify import Damage, Verification, verify_store
from asynccache.ops.verify_environments import EnvironmentsVerification, verify_environments
from asynccache_cli.options import json_option, run_async, settings_from, store_options
from asynccache_cli.text import human_bytes


@click.command("verify", short_help="Read and digest the packages of a store.")
@click.option(
    "--match", "pattern", metavar="GLOB", help="Only archives whose file name (or key, with a slash) matches."
)
@click.option("--sample", metavar="SHARE", default="100%", help="Read only a share: 5% or 0.05.")
@click.option("--seed", default="", help="Which objects a sample takes; another text takes others.")
@click.option("--quarantine", is_flag=True, help="Set damaged objects aside, so that `cache` brings them anew.")
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
    as_json: bool,
    **flags: object,
) -> None:
    """Read every archive of a store and compare its digest with its key, and with its receipt when it was transmuted.

    Without --match and --sample, the documents and names of environments are read as well: each document whose
    packages are not all there is reported, with what is missing; and packed environments are read and digested. Ends
    with exit code 5 when an object is damaged. Nothing is changed without --quarantine, and nothing is ever deleted.

    \b
    Examples:
      asynccache verify
      asynccache verify --store s3://bucket/conda_env --sample 5%
    """
    settings = settings_from(ctx, **flags).settings
    share = _share(sample)
    result, environments = run_async(_verify(settings, pattern, share, seed, quarantine=quarantine, quiet=as_json))
    if as_json:
        document = {"store": str(settings.root), **result.as_document(), "environments": environments.as_document()}
        click.echo(json.dumps(document))
    else:
        for damage in result.damaged:
            click.echo(str(damage))
        sampled = f", {result.skipped} not in the sample" if result.skipped else ""
        click.echo(
            f"{result.checked} archives, {human_bytes(result.bytes)} read and digested{sampled};"
            f" {len(result.damaged)} damaged, {result.without_receipt} transmuted ones without a receipt"
        )
        for problem in environments.damaged:
            click.echo(str(problem))
        if environments.documents or environments.names:
            read = (
                f", {environments.packs} packs ({human_bytes(environments.pack_bytes)})" if environments.packs else ""
            )
            click.echo(f"{environments.documents} documents and {environments.names} names of environments{read} read")
    if result.errors:
        raise PartialFailureError(f"{len(result.errors)} objects could not be read", result.errors)
    if result.damaged:
        raise IntegrityError(
            f"{len(result.damaged)} of {result.checked} archives in {settings.root} are damaged",
            hint=None if quarantine else "run again with --quarantine to set them aside",
        )
    if environments.damaged:
        raise IntegrityError(
            f"{len(environments.damaged)} documents, names or packs in {settings.root} are damaged",
            hint="each line above says what to do" if not as_json else None,
        )


def _share(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UsageError("--sample is wrong", expected="a share such as 5% or 0.05", found=repr(text))
    return share


async def _verify(
    settings: Settings, pattern: str | None, share: float, seed: str, *, quarantine: bool, quiet: bool
) -> tuple[Verification, EnvironmentsVerification]:
    from asynccache_cli.counter import Counter  # noqa: PLC0415 - only this command counts objects

    with Counter("verified", quiet=quiet) as counter:

        def checked(item: StoredObject, damage: Damage | None) -> None:
            del damage
            counter.add(item.info.size)

        async with Engine(settings) as engine:
            result = await verify_store(
                engine, pattern=pattern, sample=share, seed=seed, quarantine=quarantine, checked=checked
            )
            # with a pattern or a sample only archives are looked at
            if pattern is not None or share < 1:
                return result, EnvironmentsVerification()
            return result, await verify_environments(engine)
