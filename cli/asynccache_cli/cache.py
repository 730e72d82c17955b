"""`asynccache cache`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from asynccache.api import format_names
from asynccache_cli.options import (
    common_options,
    format_option,
    kept,
    level_option,
    lock_options,
    quiet_option,
    run_verb,
    show_json,
)
from asynccache_cli.progress import events_or_progress
from asynccache_cli.text import echo, human_bytes

if TYPE_CHECKING:
    from asynccache.api import Report


@click.command("cache")
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option(
    "--from",
    "lists",
    metavar="FILE",
    multiple=True,
    help=f"Take packages from {format_names(lock=True)}; - reads stdin.",
)
@lock_options
@click.option("--extra", "extras", multiple=True, help="Extra of a uv.lock or pylock.toml to take as well.")
@click.option("--group", "groups", multiple=True, help="Dependency group of a uv.lock or pylock.toml to take.")
@click.option("--skip-sources", is_flag=True, help="Leave out directories and repositories, which are not archives.")
@format_option("Format in which the store keeps conda packages; none: as published.")
@click.option("--keep-published", is_flag=True, help="Keep the published archive as well as the transmuted one.")
@level_option
@quiet_option()
@common_options
def command(*, urls: tuple[str, ...], **what: Any) -> None:
    """Fetch packages, verify them, transmute them if requested, and publish them in a store.

    A URL may carry its digest: URL#MD5, URL#sha256=DIGEST. What the store already has is not fetched again. After an
    interruption, run the same command again: it continues where it stopped.

    With --json, each event is printed as one line of JSON; the last line is the result.

    \b
    Examples:
      asynccache cache https://host/channel/noarch/six-1.16.0-pyh_0.tar.bz2 --format .conda
      asynccache cache --from conda-lock.yml --arch linux-64 --store s3://bucket/conda_env
      conda list --explicit --md5 | asynccache cache --from -
    """
    report = run_verb(lambda session: session.cache(*urls, **what), display=events_or_progress(), busy=True)
    if kept("json"):
        show_json("result", report)
    else:
        echo("\n".join(summary(report)), err=bool(report.failures))
    report.raise_for_failures()


def summary(report: Report) -> Iterator[str]:
    """Yield the lines of a receipt for people: what was done, how much, how fast."""
    complete = report.packages - len(report.failures)
    yield f"{complete} of {report.packages} packages in {report.store} ({report.hits} were there already)"
    fetched = sum(report.fetched_bytes.values())
    if fetched:
        origins = ", ".join(f"{human_bytes(n)} from {o}" for o, n in report.fetched_bytes.most_common(3))
        yield f"fetched   {origins} ({human_bytes(fetched / max(report.seconds, 1e-9))}/s)"
    for phase, word in (("transmute", "transmuted"), ("upload", "published")):
        totals = report.phases[phase]  # type: ignore[index]  # a phase's name
        if totals.count:
            yield f"{word:<9} {totals.count} archives, {human_bytes(totals.bytes)}"
    sent = " + ".join(f"{n} to {who}" for who, n in report.requests.items())
    yield (
        f"took      {report.seconds:.2f} s, {report.cpu_seconds:.2f} CPU s,"
        f" peak {human_bytes(report.peak_memory_bytes)},"
        f" {sent} requests, {report.retries} retries"
    )
