"""What a lock may name besides archives: directories and repositories, which have no bytes to cache."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.package import split_filename
from asynccache.model.url import redacted
from asynccache.resolve.place import Place, has_scheme, local_url
from asynccache.resolve.resolver import SourceBuild

_REPOSITORY: Final = re.compile(r"(git|hg|svn|bzr)\+|(git|ssh|svn|hg)://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SourceTree:
    """A directory or repository that a lock names.

    Attributes:
        place: The entry that names it.
        location: A path relative to the lock or absolute, or `git+` and the address of a repository.
        name: Of the package; empty where the format does not say how a wheel is made of it.
        version: Of the package; None where only a build tells.
        commit: Of a repository; None where the lock says none.
        subdirectory: Below its root; empty for the root.
        editable: Whether the lock wants it installed in place.
    """

    place: Place
    location: str
    name: str = ""
    version: str | None = None
    commit: str | None = None
    subdirectory: str = ""
    editable: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {redacted(self.location)} is no archive"

    def refused(self) -> UsageError:
        """Return the error of who needs an archive."""
        what = "repository" if _REPOSITORY.match(self.location) else "directory"
        return self.place.error(
            f"{redacted(self.location)!r} is a source {what}, which has no archive that could be cached",
            hint="build it and lock the wheel or package instead, or leave source trees out",
        )

    def build(self) -> SourceBuild:
        """Return how a wheel is made of it.

        Raises:
            UsageError: None can be: it is editable, a repository without commit, or of a format that does not say how.
        """
        if not self.name:
            raise self.refused()
        from packaging.utils import canonicalize_name  # noqa: PLC0415 - few locks have trees

        name, location = canonicalize_name(self.name), redacted(self.location)
        if self.editable:
            raise self.place.error("Cannot include an editable PYPI package", found=location)
        if not _REPOSITORY.match(self.location):
            return SourceBuild(name, self.version, local_url(self.location, self.place), self.subdirectory)
        if not self.commit:
            raise self.place.error("a repository is named without its commit", found=location, hint="lock again")
        return SourceBuild(name, self.version, f"{location}@{quote(self.commit, safe='')}", self.subdirectory)


def is_source_tree(location: str) -> bool:
    """Whether a location is a directory's or a repository's.

    >>> is_source_tree("./"), is_source_tree("git+https://host/a.git@v1"), is_source_tree("./a-1.0-py3-none-any.whl")
    (True, True, False)
    """
    if _REPOSITORY.match(location):
        return True
    base = re.split("[?#]", location)[0]
    if has_scheme(base) and not base.startswith("file:"):
        return False
    try:
        split_filename(base.rstrip("/").rpartition("/")[2] if not base.endswith("/") else "")
    except UsageError:
        return True
    return False
