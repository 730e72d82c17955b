"""Requests to a store by kind, as object stores charge for them."""

from __future__ import annotations

from collections.abc import Iterator

from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.node.settings_table import REQUEST_KINDS


@dataclass(slots=True)
class RequestCounts(Documented):
    """Requests to a store, by kind.

    Attributes:
        list: Pages of a listing, including listings of uncompleted uploads.
        get: Objects, or ranges of them.
        head: Properties of an object.
        put: Objects, parts of them, and starting and completing such an upload.
        delete: Objects that are removed.
    """

    list: int = 0
    get: int = 0
    head: int = 0
    put: int = 0
    delete: int = 0

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Yield each kind with its number."""
        return ((kind, getattr(self, kind)) for kind in REQUEST_KINDS)

    def __add__(self, other: RequestCounts) -> RequestCounts:
        """Return the sum of both."""
        return RequestCounts(**{kind: number + getattr(other, kind) for kind, number in self})

    def times(self, number: int) -> RequestCounts:
        """Return the counts multiplied by a number."""
        return RequestCounts(**{kind: each * number for kind, each in self})

    @property
    def total(self) -> int:
        """All of them."""
        return sum(number for _kind, number in self)
