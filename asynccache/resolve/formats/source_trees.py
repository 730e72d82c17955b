"""What a lock file may name besides packages: directories, repositories, and archives of a tag from a code host."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote

from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests
from asynccache.model.package import Format, parse_stem, split_filename
from asynccache.model.url import redacted
from asynccache.resolve.requests.source_position import SourcePosition, has_scheme, local_url
from asynccache.resolve.resolver import SourceBuild

_REPOSITORY: Final = re.compile(r"(git|hg|svn|bzr)\+|(git|ssh|svn|hg)://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SourceTree:
    """A directory, a repository or an archive of a tag or branch in a lock file.

    Attributes:
        place: The entry that names it.
        location: An absolute path or one relative to the lock file, the address of an archive, or `git+` and the
            address of a repository.
        name: Name of the package; empty if the format does not say how to build it.
        version: Version of the package; None if only a build shows it.
        commit: Commit of a repository; None if the lock file has none.
        subdirectory: Directory below its root; empty for the root.
        editable: Whether it is to be installed in place.
        digests: Digests of an archive; None for others.
    """

    place: SourcePosition
    location: str
    name: str = ""
    version: str | None = None
    commit: str | None = None
    subdirectory: str = ""
    editable: bool = False
    digests: Digests | None = None

    def __str__(self) -> str:
        what = "no archive" if self.digests is None else "an archive that does not bear its package's name"
        return f"{self.place}: {redacted(self.location)} is {what}"

    def refused(self) -> UsageError:
        """Return the error of a caller that needs an archive."""
        if self.digests is not None:
            what = (
                "an archive that does not bear its package's name: it is kept with the wheel that is built of it only"
            )
        else:
            kind = "repository" if _REPOSITORY.match(self.location) else "directory"
            what = f"a source {kind}, which has no archive that could be cached"
        return self.place.error(
            f"{redacted(self.location)!r} is {what}",
            hint="build it and lock the wheel or package instead, or leave source trees out",
        )

    def build(self) -> SourceBuild:
        """Return how to build a wheel from it.

        Raises:
            UsageError: That is impossible: it is editable, a repository without a commit, or in a format that does not
                say how.
        """
        if not self.name:
            raise self.refused()
        from packaging.utils import canonicalize_name  # noqa: PLC0415 - few lock files have trees

        name, location = canonicalize_name(self.name), redacted(self.location)
        if self.editable:
            raise self.place.error("Cannot include an editable PYPI package", found=location)
        if self.digests is not None:
            address = location if has_scheme(location) else local_url(location, self.place)
            known = self.digests
            return SourceBuild(name, self.version, address, self.subdirectory, known.sha256, known.size, known.md5)
        if not _REPOSITORY.match(self.location):
            return SourceBuild(name, self.version, local_url(self.location, self.place), self.subdirectory)
        if not self.commit:
            raise self.place.error("a repository is named without its commit", found=location, hint="lock again")
        return SourceBuild(name, self.version, f"{location}@{quote(self.commit, safe='')}", self.subdirectory)


def is_source_tree(location: str) -> bool:
    """Whether a location is that of a directory or a repository.

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


def bears_name(location: str, name: str, version: str | None) -> bool:
    """Whether the file name of an archive names its package, unlike that of a tag or branch (`v1.0.tar.gz`).

    Raises:
        UsageError: It is not a file name of an archive.

    >>> bears_name("https://host/a-b-1.0.tar.gz", "A_b", None), bears_name("https://host/tags/v1.0.tar.gz", "a", "1.0")
    (True, False)
    """
    from packaging.utils import canonicalize_name, canonicalize_version  # noqa: PLC0415 - few lock files have these

    stem, fmt = split_filename(unquote(re.split("[?#]", location)[0].rpartition("/")[2]))
    if fmt not in {Format.TAR_GZ, Format.ZIP}:
        return True
    try:
        found = parse_stem("pypi", stem)
    except UsageError:
        return False
    same_version = version is None or canonicalize_version(found.version) == canonicalize_version(version)
    return same_version and canonicalize_name(found.name) == canonicalize_name(name)
