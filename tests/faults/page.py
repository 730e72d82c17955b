"""The tables of the fault matrix in docs/faults.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from tests.faults.matrix import COMMANDS
from tests.support.breaking_proxy import Break

STORES: Final = {
    "s3": "Amazon S3 (SeaweedFS)",
    "azure": "Azure Blob Storage (Azurite)",
    "gs": "Google Cloud Storage (fake-gcs-server)",
    "local": "A directory",
}
"""Those that commands are tried on, and the headings of their tables."""
_SIGNS: Final = {"same result": "same", "not met": "·", "-": "-"}


def begin(store: str) -> str:
    """Return the line before a store's table."""
    return f"<!-- table of {store}: written by `make test-faults` -->\n"


def end(store: str) -> str:
    """Return the line behind it."""
    return f"<!-- end of {store} -->\n"


def with_table(page: str, store: str, words: Mapping[tuple[Break, str], str], seed: int) -> str:
    """Return the page with another table of a store.

    Args:
        page: Its text.
        store: One of `STORES`.
        words: What came of each cell.
        seed: They were tried with.
    """
    before, _, rest = page.partition(begin(store))
    _, _, after = rest.partition(end(store))
    counts = Counter("exit, rerun fine" if word.startswith("exit") else word for word in words.values())
    said = ", ".join(f"{count} {word}" for word, count in counts.most_common())
    lines = [
        f"### {STORES[store]}",
        "",
        f"Seed {seed}: {len(words)} cells; {said}.",
        "",
        "| | " + " | ".join(COMMANDS) + " |",
        "| --- |" + " --- |" * len(COMMANDS),
        *(f"| {fault} | " + " | ".join(_sign(words[fault, name]) for name in COMMANDS) + " |" for fault in Break),
    ]
    return f"{before}{begin(store)}\n" + "\n".join(lines) + f"\n\n{end(store)}{after}"


def _sign(word: str) -> str:
    return _SIGNS.get(word) or word.removeprefix("exit ").removesuffix(", rerun fine")
