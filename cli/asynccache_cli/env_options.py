"""What the environment commands share: opening the catalog, tables, times and sizes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import click

from asynccache.config import Settings
from asynccache.engine.engine import store_options as options_of
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.platform import checked_architecture, current_architecture
from asynccache.ops.environments import Environments, doubts
from asynccache.store.open import open_store

arch_option = click.option("--arch", metavar="ARCH", help="Architecture, such as linux-64; default: this machine's.")


@asynccontextmanager
async def open_environments(settings: Settings) -> AsyncIterator[Environments]:
    """Open the catalog on the settings' store."""
    async with open_store(settings.root, options_of(settings)) as store:
        yield Environments(settings, store, warn)


def warn(sentence: str) -> None:
    """Say something on standard error that is no failure."""
    click.echo(click.style("note: ", fg="yellow") + sentence, err=True)


def warn_of_doubts(environment: ResolvedEnvironment) -> None:
    """Say what does not fit together in a document."""
    for sentence in doubts(environment):
        warn(f"the document of {environment.id} may have been changed: {sentence}")


def architecture_of(text: str | None) -> str:
    """Return the architecture that is meant.

    Raises:
        UsageError: There is none of that name.
    """
    return current_architecture() if text is None else checked_architecture(text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Write a plain table with aligned columns.

    Args:
        head: Titles.
        rows: Texts, as many as titles.
        right: Columns that are aligned at their right.
    """
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    ends = set(right)
    return "\n".join(
        "  ".join(c.rjust(w) if i in ends else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        .rstrip()
        for line in lines
    )  # fmt: skip


def short(text: str) -> str:
    """Abbreviate an id for people."""
    return text[:12]


def moment(text: str) -> str:
    """Cut a time to minutes for people."""
    return text[:16].replace("T", " ")


def ago(moment: float) -> str:
    """Say for people how long ago a time was, in seconds since the epoch; the day when it is longer than two days."""
    seconds = time.time() - moment
    if seconds < 3600:
        return f"{max(0, seconds) / 60:.0f} min ago"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f} h ago"
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d") if moment else "-"
