"""Tables, sizes and times as people read them, and the one way to print them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from asynccache.errors import without_tokens

if TYPE_CHECKING:
    from asynccache.api import Audit, EnvID, Replicated, StoreVerification


def echo(text: str, *, nl: bool = True, err: bool = False) -> None:
    """Print a text; tokens in keys made by other writers are removed."""
    click.echo(without_tokens(text), nl=nl, err=err, color=colours())


def colours() -> bool | None:
    """Return whether texts have colours: none with NO_COLOR, otherwise on terminals only."""
    return False if os.environ.get("NO_COLOR") else None


def human_bytes(count: float) -> str:
    """Write bytes in binary units.

    >>> human_bytes(1536)
    '1.5 KiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Write a plain table with aligned columns.

    Args:
        head: Titles.
        rows: Texts, as many as titles.
        right: Columns that are right-aligned.
    """
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    ends = set(right)
    return "\n".join(
        "  ".join(c.rjust(w) if i in ends else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        .rstrip()
        for line in lines
    )  # fmt: skip


def short_ids(env_id: EnvID) -> str:
    """Abbreviate ids for display."""
    return f"{env_id.req_id[:12]}:{env_id.full_id[:12]}"


def moment(text: str) -> str:
    """Cut a time to minutes for display."""
    return text[:16].replace("T", " ")


def ago(moment: float) -> str:
    """Return for people how long ago a time (seconds since the epoch) was, or its date after two days."""
    seconds = time.time() - moment
    if seconds < 3600:
        return f"{max(0, seconds) / 60:.0f} min ago"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.0f} h ago"
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d") if moment else "-"


def unrecorded(result: Audit | Replicated | StoreVerification) -> Iterator[str]:
    """Yield why `report` does not show a run, where the store has no record of it."""
    if result.unrecorded is not None:
        yield f"no record was written to the store, so `asynccache report` does not show this run: {result.unrecorded}"
