"""Positions in a list, and packages made from its entries."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from asynccache.errors import AsyncCacheError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests
from asynccache.model.package import Kind, Package
from asynccache.model.url import redacted
from asynccache.resolve.requests.url_credentials import expanded

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class SourcePosition:
    """A list, and a line or an entry of it.

    Attributes:
        name: Path of the list as the user gave it; `-` for standard input.
        line: Counted from 1; None if the format's reader does not provide it.
        entry: Name of the entry, if there is no line.

    >>> str(SourcePosition("pixi.lock", 12)), str(SourcePosition("-"))
    ('pixi.lock, line 12', 'standard input')
    """

    name: str
    line: int | None = None
    entry: str = ""

    def at(self, line: int | None = None, *, entry: str = "") -> SourcePosition:
        """Return a line or entry of the same list."""
        return SourcePosition(self.name, line, entry)

    def __str__(self) -> str:
        name = "standard input" if self.name == STANDARD_INPUT else redacted(self.name)
        where = f", line {self.line}" if self.line is not None else ""
        return f"{name}{where}{f', {self.entry}' if self.entry else ''}"

    def error(
        self, message: str, *, expected: object = None, found: object = None, hint: str | None = None
    ) -> UsageError:
        """Return an error at this position."""
        return UsageError(self.said(message), expected=expected, found=found, hint=hint)

    def said(self, message: str) -> str:
        """Return a message with this position, which `NOWHERE` leaves out."""
        return f"{self}: {message}" if self.name else message

    @contextmanager
    def located(self) -> Iterator[None]:
        """Add this position to an error that is raised inside.

        Raises:
            UsageError: Replaces any error of ours.
        """
        try:
            yield
        except AsyncCacheError as exc:
            raise self.error(exc.message, expected=exc.expected, found=exc.found, hint=exc.hint) from exc


NOWHERE = SourcePosition("")  # for what is not in a list: decorators, the command line


def local_url(text: str, place: SourcePosition) -> str:
    """Return the absolute file URL of a path or file URL that a list names relative to itself.

    Raises:
        UsageError: It is relative and the list has no directory, because it is read from standard input.
    """
    path = Path(unquote(urlsplit(text).path) if text.startswith("file:") else text)
    if not path.is_absolute():
        if place.name == STANDARD_INPUT:
            raise place.error(
                f"{redacted(text)!r} is relative to a list that has no directory",
                hint="name the list's file instead of reading it from standard input, or give an absolute path",
            )
        path = Path(place.name).absolute().parent / path
    # `..` is resolved by name: a package URL must not contain it.
    return Path(os.path.normpath(path)).as_uri()


def has_scheme(text: str) -> bool:
    """Return whether a location is a URL and not a path.

    >>> has_scheme("https://host/a"), has_scheme("./a"), has_scheme("file:a")
    (True, False, True)
    """
    return "://" in text or text.startswith("file:")


def package_at(place: SourcePosition, location: str, digests: Digests, *, kind: Kind | None = None) -> Package:
    """Return the package that an entry names.

    Args:
        place: The entry.
        location: A URL, or a path that is absolute or relative to the list.
        digests: Digests in the entry besides those in the URL.
        kind: Its kind, as the entry says; None if the format does not say.

    Raises:
        UsageError: The location is not that of a package, contradicts the digests, or is of the other kind.
    """
    with place.located():
        location = expanded(location)
        base, fragment_mark, fragment = location.partition("#")
        if base.startswith("file:") or not has_scheme(base):
            location = local_url(base, place) + fragment_mark + fragment
        package = Package.from_url(location, digests)
        if kind is not None and package.kind != kind:
            raise UsageError(
                f"{package.url} is listed as a {kind} package", found=f"a file name of a {package.kind} package"
            )
    return package
