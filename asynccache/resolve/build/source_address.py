"""How a source build is identified: the address that its wheel is stored under (contract, sections 2.2.2 and 3.2)."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote, unquote, urlsplit

from asynccache.errors import BuildError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.package import Format, split_filename
from asynccache.model.url import redacted
from asynccache.resolve.resolver import SourceBuild

Kind = Literal["archive", "local archive", "local wheel", "directory", "repository"]
_REPOSITORY: Final = "git+"


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed source build.

    Attributes:
        build: The build as the resolver returned it.
        kind: What it is.
        path: Local path, if it is on this machine.
        repository: Address of a repository, without `git+` and commit.
        commit: Commit of a repository.
        format: Format of an archive or wheel.
    """

    build: SourceBuild
    kind: Kind
    path: Path | None = None
    repository: str = ""
    commit: str = ""
    format: Format | None = None

    @property
    def published(self) -> bool:
        """Whether it can be fetched from an address by anyone."""
        return self.kind == "archive"


def read_source(build: SourceBuild) -> Source:
    """Parse the location of a source.

    Raises:
        UsageError: A repository without a commit or other than git, or an invalid address.
    """
    location = build.location
    if location.startswith(_REPOSITORY):
        address, at, commit = location.removeprefix(_REPOSITORY).rpartition("@")
        if not at or not re.fullmatch(r"[\w.][\w./+-]*", unquote(commit)) or "/" in commit:
            raise UsageError(f"{redacted(location)} names no commit", expected="git+ADDRESS@COMMIT")
        return Source(build, "repository", repository=address, commit=unquote(commit))
    parts = urlsplit(location)
    if parts.scheme not in {"http", "https", "file"}:
        raise UsageError(
            f"{build.name} cannot be built from {redacted(location)}",
            expected="an archive by http, https or file, a directory, or a git repository",
        )
    path = Path(unquote(parts.path)) if parts.scheme == "file" else None
    if path is not None and path.is_dir():
        return Source(build, "directory", path)
    _, fmt = split_filename(unquote(parts.path).rsplit("/", 1)[-1])
    if path is None:
        return Source(build, "archive", format=fmt)
    if not path.is_file():
        raise BuildError(f"{build.name} cannot be built: {path} does not exist")
    return Source(build, "local wheel" if fmt is Format.WHEEL else "local archive", path, format=fmt)


def stored_address(source: Source, *, sha256: str | None, version: str | None, locked: bool = False) -> str:
    """Return the address in documents and keys.

    Args:
        source: The source.
        sha256: sha256 of a local archive or wheel.
        version: Version of a directory, as built; None if not known yet.
        locked: Whether a pylock.toml names it; directories and subdirectories are then written differently.
    """
    build = source.build
    if source.kind == "archive":
        return redacted(build.location)
    if source.kind == "repository":
        parts = urlsplit(source.repository)
        host = parts.netloc.rpartition("@")[2]
        below = f"/{source.commit}"
        if build.subdirectory:
            below += "/" + (quote(build.subdirectory, safe="") if locked else quote(build.subdirectory.strip("/")))
        return f"{parts.scheme}://_fake/{host}{parts.path.rstrip('/')}{below}"
    if source.path is None:
        raise AssertionError  # everything else is on this machine
    if source.kind == "directory":
        if locked:
            return f"file://_fake/{quote(str(source.path))}/{build.name}-{version or '0'}.whl"
        return f"file://_fake/local-{directory_digest(source.path)}/{build.name}-{version or '0'}"
    return f"file://_fake/local-{sha256}/{quote(split_filename(source.path.name)[0], safe='+!')}"


def directory_digest(directory: Path) -> str:
    """Return the state of a source directory: the sha256 of `MTIME:PATH` of the most recently changed file.

    Top-level `build` and `*.egg-info` do not count (contract, section 2.2.2). Blocking.
    """
    newest = (0.0, "")
    for root, directories, files in os.walk(directory):
        if root == str(directory):
            directories[:] = [name for name in directories if name != "build" and not name.endswith(".egg-info")]
        paths = [Path(root, name) for name in files]
        newest = max([newest, *((path.stat().st_mtime, str(path)) for path in paths if not path.is_symlink())])
    return hashlib.sha256(f"{newest[0]}:{newest[1]}".encode()).hexdigest()
