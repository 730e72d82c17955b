"""What an extracted package's record says, and whether it is the package that an environment names.

A record is written last, inside the directory, before the directory gets its name; so a directory with a record is
complete. Conda packages also carry `info/repodata_record.json`, as conda programs write and read it; a directory that
one of those extracted is used when that record names the same bytes.

    <filename>/info/asynccache.json      conda package: our record
    pypi/<filename>/record.json          wheel: our record, beside the tree `files/`
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from asynccache.errors import ArchiveError
from asynccache.hydrate.owned import close_to_others, is_closed
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests
from asynccache.model.environment import EnvironmentPackage
from asynccache.model.package import KEY_ALGORITHM, Kind
from asynccache.model.url import redacted
from asynccache.node.json_text import read_json

_VERSION: Final = 1
_RECORDS: Final[Mapping[Kind, str]] = {"conda": "info/asynccache.json", "pypi": "record.json"}
_FOREIGN: Final = "info/repodata_record.json"


@dataclass(frozen=True, slots=True)
class Contents:
    """What linking needs to know of an extracted package.

    Attributes:
        bytes: Size of all files.
        placed_bytes: Size of the files that contain their prefix, which are rewritten in every environment.
        files: Number of files and links.
        shortest_placeholder: Longest prefix, in bytes, that fits into every binary file; None if there is no such file.
        shortest_in: The file that sets this limit.
        post_link: Whether it has a script to run after linking.
    """

    bytes: int
    placed_bytes: int
    files: int
    shortest_placeholder: int | None = None
    shortest_in: str = ""
    post_link: bool = False


@dataclass(frozen=True, slots=True)
class Extracted:
    """An extracted package on this node.

    Attributes:
        package: The package as in the environment.
        path: Its directory.
        contents: Its contents.
        sha256: sha256 of the published archive, if known.
        closed: Whether its record says that no other user can write to it.
    """

    package: EnvironmentPackage
    path: Path
    contents: Contents
    sha256: str | None = None
    closed: bool = False

    @property
    def record(self) -> Path:
        """Its record, whose modification time is that of the last use."""
        own = self.path / _RECORDS[self.package.kind]
        return own if own.exists() else self.path / _FOREIGN

    @property
    def files(self) -> Path:
        """The unpacked tree."""
        return self.path if self.package.kind == "conda" else self.path / "files"


def write_record(directory: Path, package: EnvironmentPackage, fmt: str, digests: Digests) -> None:
    """Write the record of an extracted package, and protect it from others. Blocking.

    Args:
        directory: The package's directory, complete except for the record.
        package: The package as in the environment.
        fmt: Format of the archive that was extracted.
        digests: md5 (conda) and sha256 of that archive.

    Raises:
        ArchiveError: Its list of paths cannot be read.
        IntegrityError: Another user has put something there.
    """
    known = {k: v for k, v in package.hashes.items() if k in {package.url_format, fmt}}
    known[fmt] = digests.get(KEY_ALGORITHM[package.kind]) or ""
    published = fmt == package.url_format
    sha256 = digests.sha256 if published else package.hashes.get("sha256")
    try:
        contents = summarised(directory, package.kind)
    except ValueError as exc:
        raise ArchiveError(
            f"the paths in {package.filename} cannot be read ({exc})", hint="verify the package"
        ) from exc
    if package.kind == "conda":
        _write_foreign(directory, package, known.get(package.url_format), sha256)
    record = {
        "version": _VERSION,
        "url": redacted(package.url),
        "filename": package.filename,
        "hashes": known,
        "sha256": sha256,
        "contents": asdict(contents),
        "closed": True,
    }
    (directory / _RECORDS[package.kind]).write_text(json.dumps(record), encoding="utf-8")
    close_to_others(directory)


def read_record(directory: Path, package: EnvironmentPackage) -> Extracted | None:
    """Return the package that a directory holds if it is the wanted one, otherwise None. Blocking."""
    own = _document(directory / _RECORDS[package.kind])
    try:
        if own is not None and own["version"] == _VERSION:
            if not _is_same(package, own["hashes"], str(own["url"])):
                return None
            return Extracted(package, directory, Contents(**own["contents"]), own["sha256"], own.get("closed") is True)
        foreign = _document(directory / _FOREIGN) if package.kind == "conda" else None
        if foreign is None or not _is_same_conda(package, foreign):
            return None
        # no record of ours can be added to another program's package: it may be read-only
        return Extracted(package, directory, summarised(directory, "conda"), foreign.get("sha256"))
    except (KeyError, TypeError, ValueError, OSError):
        return None


def is_trusted(extracted: Extracted, owner: int | None) -> bool:
    """Return whether no user but this one, root and `owner` can have written an extracted package. Blocking."""
    return is_closed(extracted.path, extracted.record, owner, said=extracted.closed)


def note_use(extracted: Extracted) -> None:
    """Record that the package is used now, if that can be written. Blocking."""
    with suppress(OSError):
        os.utime(extracted.record)


def summarised(directory: Path, kind: Kind) -> Contents:
    """Find out what is in an extracted package. Blocking.

    Raises:
        OSError: It cannot be read.
        ValueError: Its list of paths cannot be read.
    """
    if kind == "pypi":
        size, count = _walked(directory / "files")
        return Contents(size, 0, count)
    size, count = _walked(directory)
    paths = _document(directory / "info" / "paths.json")
    placed, shortest, where, post_link = 0, None, "", False
    try:
        for entry in _entries(directory) if paths is None else paths.get("paths", []):
            name = str(entry["_path"])
            post_link = post_link or (name.startswith("bin/.") and name.endswith("-post-link.sh"))
            placeholder = entry.get("prefix_placeholder")
            if placeholder:
                with suppress(OSError):
                    placed += (directory / name).lstat().st_size
                length = len(placeholder.encode())
                if entry.get("file_mode") == "binary" and (shortest is None or length < shortest):
                    shortest, where = length, name
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError("info/paths.json is no list of paths") from exc
    return Contents(size, placed, count, shortest, where, post_link)


def _entries(directory: Path) -> list[dict[str, str]]:
    """Read the lists that packages had before the format of `info/paths.json`."""
    with suppress(FileNotFoundError):
        names = (directory / "info" / "files").read_text("utf-8").splitlines()
        placeholders: dict[str, dict[str, str]] = {}
        with suppress(FileNotFoundError):
            for line in (directory / "info" / "has_prefix").read_text("utf-8").splitlines():
                parts = line.split()
                if len(parts) == 3:
                    placeholders[parts[2]] = {"prefix_placeholder": parts[0], "file_mode": parts[1]}
                elif parts:
                    placeholders[parts[-1]] = {"prefix_placeholder": "/opt/anaconda1anaconda2anaconda3"}
        return [{"_path": name, **placeholders.get(name, {})} for name in names if name]
    return []


def _walked(directory: Path) -> tuple[int, int]:
    size = count = 0
    pending = [os.fspath(directory)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                    continue
                count += 1
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    size += status.st_size
    return size, count


def _is_same(package: EnvironmentPackage, hashes: Mapping[str, str], url: str) -> bool:
    """Return whether recorded digests match those in the environment; if there are none, the address decides."""
    both = [fmt for fmt in hashes if fmt in package.hashes]
    if both:
        return all(hashes[fmt] == package.hashes[fmt] for fmt in both)
    return url == redacted(package.url)


def _is_same_conda(package: EnvironmentPackage, record: Mapping[str, Any]) -> bool:
    digest = record.get("md5")
    known = [h for fmt, h in package.hashes.items() if fmt.startswith(".")]
    if digest and known:
        return digest in known
    return bool(record.get("url")) and redacted(str(record["url"])) == redacted(package.url)


def _write_foreign(directory: Path, package: EnvironmentPackage, md5: str | None, sha256: str | None) -> None:
    index = _document(directory / "info" / "index.json") or {}
    address = redacted(package.url)
    record = {
        **index,
        "fn": package.filename + package.url_format,
        "url": address,
        "channel": address.rsplit("/", 2)[0],
        **({"md5": md5} if md5 else {}),
        **({"sha256": sha256} if sha256 else {}),
    }
    (directory / _FOREIGN).write_text(json.dumps(record), encoding="utf-8")


def _document(path: Path) -> dict[str, Any] | None:
    try:
        document = read_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None
