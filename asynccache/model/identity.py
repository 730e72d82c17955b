"""The identity of an environment: `req_id` for what was asked, `full_id` for what was found (contract, section 1).

Both are SHA-1 over ASCII text with single blanks between items. The formulas have quirks (no marker between the parts
of a request, another order for environments that were resolved together); they are kept, because ids name objects that
other readers look for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Final

from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.platform import checked_architecture

_HEX40 = re.compile(r"[0-9a-f]{40}")
# A legacy category is read as its successor; nothing sorts between the two names, so ids agree.
_LEGACY: Final = {"pip": "pypi"}
CATEGORIES: Final = {
    "deps": ("conda", "pypi", "npconda", "sys"),
    "sources": ("conda", "pypi"),
    "extras": ("pypi",),
}

Tagged = Mapping[str, Sequence[str]]
"""Category -> values, such as {"conda": ["python==3.11.*"]}."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for. Order within a category does not matter for the id; duplicates do.

    Attributes:
        deps: Requirements by category: `NAME` or `NAME==CONSTRAINT`.
        sources: Channels and indexes by category.
        extras: Resolver flags by category.
    """

    deps: Tagged = field(default_factory=dict)
    sources: Tagged = field(default_factory=dict)
    extras: Tagged = field(default_factory=dict)

    @property
    def req_id(self) -> str:
        """The request's id, 40 hexadecimal digits.

        Raises:
            UsageError: A value is not ASCII.

        >>> Request().req_id
        'da39a3ee5e6b4b0d3255bfef95601890afd80709'
        """
        items = [item for part in (self.deps, self.sources, self.extras) for item in _items(part)]
        return _sha1(items)

    @property
    def environment_type(self) -> str:
        """The type that follows from the requirements: `conda-only`, `pypi-only` or `mixed` (contract, section 1.3)."""
        if len(self.deps.get("conda", ())) < 2:
            return "pypi-only"
        return "mixed" if self.deps.get("pypi") or self.deps.get("pip") else "conda-only"


def checked_ids(value: object) -> tuple[str, str]:
    """Return (req_id, full_id) from the format of aliases and their histories.

    Raises:
        UsageError: It is not in this format.
    """
    if isinstance(value, list) and len(value) == 2 and all(isinstance(i, str) and _HEX40.fullmatch(i) for i in value):
        return value[0], value[1]
    raise UsageError("two ids are malformed", expected='["REQ_ID", "FULL_ID"]', found=repr(value)[:80])


@dataclass(frozen=True, slots=True, order=True)
class EnvID:
    """An environment: what was asked, what was found, for which architecture.

    Attributes:
        req_id: 40 hexadecimal digits.
        full_id: 40 hexadecimal digits, or one of the words `_default` and `_unresolved`.
        arch: conda platform.
    """

    req_id: str
    full_id: str
    arch: str

    def __post_init__(self) -> None:
        if not _HEX40.fullmatch(self.req_id):
            raise UsageError("a req_id is malformed", expected="40 hexadecimal digits", found=repr(self.req_id[:60]))
        if not _HEX40.fullmatch(self.full_id) and self.full_id not in {"_default", "_unresolved"}:
            raise UsageError("a full_id is malformed", expected="40 hexadecimal digits", found=repr(self.full_id[:60]))
        checked_architecture(self.arch)

    @property
    def name(self) -> str:
        """Directory name of the environment if it is hydrated for a step."""
        return f"metaflow_{self.req_id}_{self.full_id}"

    def as_list(self) -> list[str]:
        """Return the triple in its stored order."""
        return [self.req_id, self.full_id, self.arch]

    def __str__(self) -> str:
        return f"{self.req_id}:{self.full_id}"


def full_id(entries: Iterable[tuple[str, str | None]], arch: str, unique_keys: Mapping[str, str] | None = None) -> str:
    """Return the id of an environment that was resolved for one architecture.

    Args:
        entries: (file name without extension, hash of the archive as published: md5 for conda, sha256 for PyPI, None if
            unknown) of each package, in any order.
        arch: conda platform.
        unique_keys: Further keys of its identity, such as the digest of a lock file.

    Raises:
        UsageError: A file name is not ASCII.
    """
    keys = [f"{key}:{value}" for key, value in sorted((unique_keys or {}).items())]
    return _sha1([*_entries(entries), arch, *keys])


def co_resolved_full_id(by_arch: Mapping[str, Iterable[tuple[str, str | None]]]) -> str:
    """Return the common id of environments of one request that were resolved together.

    Args:
        by_arch: conda platform -> entries as for `full_id`; at least two.

    Raises:
        UsageError: A file name is not ASCII.
    """
    return _sha1([item for arch in sorted(by_arch) for item in (arch, *_entries(by_arch[arch]))])


def _entries(entries: Iterable[tuple[str, str | None]]) -> list[str]:
    # sorted by file name only; Python's sort is stable, as the contract's is
    return [f"{name}#{digest}" for name, digest in sorted(entries, key=lambda e: e[0])]


def _items(part: Tagged) -> list[str]:
    return [
        f"{_LEGACY.get(category, category)}::{value}" for category in sorted(part) for value in sorted(part[category])
    ]


def _sha1(items: Iterable[str]) -> str:
    text = " ".join(items)
    try:
        return hashlib.sha1(text.encode("ascii"), usedforsecurity=False).hexdigest()
    except UnicodeEncodeError as exc:
        raise UsageError(
            "a requirement cannot be identified: names, versions and addresses must be ASCII",
            found=repr(text[max(0, exc.start - 20) : exc.end + 20]),
        ) from exc
