"""What a lock file may name besides archives: directories and repositories, which have no bytes to cache."""

from __future__ import annotations

import re
from typing import Final

from asynccache.errors import UsageError
from asynccache.model.package import split_filename
from asynccache.model.url import redacted
from asynccache.resolve.place import Place, has_scheme

_REPOSITORY: Final = re.compile(r"(git|hg|svn|bzr)\+|(git|ssh|svn|hg)://", re.IGNORECASE)


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


def source_error(place: Place, location: str) -> UsageError:
    """Return the error that a list names a source tree."""
    what = "repository" if _REPOSITORY.match(location) else "directory"
    return place.error(
        f"{redacted(location)!r} is a source {what}, which has no archive that could be cached",
        hint="build it and lock the wheel or package instead, or leave source trees out",
    )
