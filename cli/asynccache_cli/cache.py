"""`asynccache cache`."""

from __future__ import annotations

import json

import click

from asynccache.api import format_names
from asynccache.config import Settings
from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.engine.report import Report
from asynccache.errors import UsageError
from asynccache.model.package import Package
from asynccache_cli.options import json_option, parse_format, run_async, settings_from, store_options
from asynccache_cli.progress import ProgressDisplay
from asynccache_cli.text import human_bytes


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
@click.option("--level", type=click.IntRange(1, 22), help="zstd level of written .conda archives.")
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
    settings = settings_from(ctx, preferred_format=parse_format(fmt), zstd_level=level, **flags).settings
    packages = [Package.from_url(url) for url in urls]
    from asynccache.resolve.formats.locks import read_package_list  # noqa: PLC0415 - `--help` does without
    from asynccache.resolve.formats.text import read_text  # noqa: PLC0415

    for name in lists:
        found = read_package_list(
            name,
            read_text(name),
            arches=arches,
            environment=environment,
            python=python,
            extras=frozenset(extras),
            groups=frozenset(groups) or None,
            skip_sources=skip_sources,
        )
        packages += found
        for sentence in found.skipped:
            click.echo(f"left out: {sentence}", err=True)
    if not packages:
        raise UsageError("there is nothing to cache", hint="give URLs, or a list with --from FILE")
    report = run_async(_cache(settings, packages, keep_published=keep_published, quiet=quiet, as_json=as_json))
    if as_json:
        click.echo(json.dumps({"event": "Receipt", "store": str(settings.root), **report.as_document()}))
    else:
        click.echo(summary(report, str(settings.root)), err=bool(report.failures))
    report.raise_for_failures()


async def _cache(
    settings: Settings, packages: list[Package], *, keep_published: bool, quiet: bool, as_json: bool
) -> Report:
    wanted = settings.wanted_format
    with ProgressDisplay(quiet=quiet or as_json) as display:

        def take(event: events.Event) -> None:
            if as_json:
                click.echo(json.dumps(event.as_document()))
            else:
                display.take(event)

        async with Engine(settings, emit=take) as engine:
            return await engine.cache(packages, wanted=wanted, keep_published=keep_published)


def summary(report: Report, root: str) -> str:
    """Write a receipt for people: what was done, how much, how fast."""
    complete = len(report.outcomes) - len(report.failures)
    lines = [f"{complete} of {len(report.outcomes)} packages in {root} ({report.hits} were there already)"]
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
