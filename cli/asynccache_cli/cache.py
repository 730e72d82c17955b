"""`asynccache cache`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from asynccache.api import format_names
from asynccache_cli.options import json_option, run_verb, store_options
from asynccache_cli.progress import reporting
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from asynccache.api import Report


@click.command("cache", short_help="Fetch packages, verify, transmute and publish them.")
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option(
    "--from",
    "lists",
    metavar="FILE",
    multiple=True,
    help=f"Take packages from {format_names(lock=True)}; - reads stdin.",
)
@click.option(
    "--arch", "arches", multiple=True, help="Platform to take from a lock, such as linux-64; default: this one."
)
@click.option("--environment", help="Environment to take from a pixi.lock; default: `default`.")
@click.option("--python", help="Python version to choose wheels of a uv.lock or pylock.toml for; default: this one.")
@click.option("--extra", "extras", multiple=True, help="Extra of a uv.lock or pylock.toml to take as well.")
@click.option("--group", "groups", multiple=True, help="Dependency group of a uv.lock or pylock.toml to take.")
@click.option("--skip-sources", is_flag=True, help="Leave out directories and repositories, which are no archives.")
@click.option(
    "--format",
    "fmt",
    type=click.Choice([".conda", ".tar.bz2", "none"]),
    metavar="[.conda|.tar.bz2|none]",
    help="Form of conda packages that the store shall hold; none: as published.",
)
@click.option("--keep-published", is_flag=True, help="Hold the published form as well as the transmuted one.")
@click.option("--level", type=int, help="zstd level of written .conda archives.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@store_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    urls: tuple[str, ...],
    lists: tuple[str, ...],
    arches: tuple[str, ...],
    environment: str | None,
    python: str | None,
    extras: tuple[str, ...],
    groups: tuple[str, ...],
    skip_sources: bool,
    fmt: str | None,
    keep_published: bool,
    level: int | None,
    quiet: bool,
    as_json: bool,
    **flags: object,
) -> None:
    """Fetch packages, verify them, transmute them where asked, and publish them in a store.

    A URL may carry its digest: URL#MD5, URL#sha256=DIGEST. What the store already holds is not fetched again. Run the
    same command again after an interruption: it goes on where it ended.

    With --json, every event is printed as a line of JSON, and last the receipt.

    \b
    Examples:
      asynccache cache https://host/channel/noarch/six-1.16.0-pyh_0.tar.bz2 --format .conda
      asynccache cache --from conda-lock.yml --arch linux-64 --store s3://bucket/conda_env
      conda list --explicit --md5 | asynccache cache --from -
    """
    settings = {**flags, "preferred_format": fmt, "zstd_level": level}
    with reporting(quiet=quiet, as_json=as_json) as take:
        report = run_verb(
            ctx,
            settings,
            lambda session: session.cache(
                *urls,
                lists=lists,
                arches=arches,
                environment=environment,
                python=python,
                extras=extras,
                groups=groups,
                skip_sources=skip_sources,
                keep_published=keep_published,
            ),
            emit=take,
            busy=True,
        )
    if as_json:
        click.echo(json.dumps({"event": "Receipt", **report.as_document()}))
    else:
        click.echo(summary(report), err=bool(report.failures))
    report.raise_for_failures()


def summary(report: Report) -> str:
    """Write a receipt for people: what was done, how much, how fast."""
    complete = len(report.outcomes) - len(report.failures)
    lines = [f"{complete} of {len(report.outcomes)} packages in {report.store} ({report.hits} were there already)"]
    seconds = max(report.seconds, 1e-9)
    fetched = sum(report.fetched_bytes.values())
    if fetched:
        origins = ", ".join(f"{human_bytes(n)} from {o}" for o, n in report.fetched_bytes.most_common(3))
        lines.append(f"fetched   {origins} ({human_bytes(fetched / seconds)}/s)")
    for phase, word in (("transmute", "transmuted"), ("upload", "published")):
        totals = report.phases[phase]  # type: ignore[index]  # a phase's name
        if totals.count:
            lines.append(f"{word:<9} {totals.count} archives, {human_bytes(totals.bytes)}")
    sent = " + ".join(f"{n} to {who}" for who, n in report.requests.items())
    lines.append(
        f"took      {report.seconds:.2f} s, {report.cpu_seconds:.2f} CPU s,"
        f" peak {human_bytes(report.peak_memory_bytes)},"
        f" {sent} requests, {report.retries} retries"
    )
    return "\n".join(lines)
