"""Write conda packages from members held in memory or generated as they are written.

A package is `Metadata` plus a list of `Member`. Output is deterministic: the same members give the same bytes with
the same library versions. Not supported: Windows paths, signing, `.tar.bz2` members over 8 GiB.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import zstandard

from asynccache.model.package import Format

# Linkers patch the prefix in place, so it has to be as long as any real one: 255 characters, as conda-build makes it.
PLACEHOLDER: Final = ("/opt/placeholder" + "_placehold" * 25)[:255]
MODIFIED: Final = 1_760_000_000  # seconds since the epoch, for every member: any fixed time after 1980 will do
_LONGEST_CHAIN: Final = 40  # links, as in Linux
_EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Blocks:
    """A large content that is generated, not held.

    Attributes:
        size: In bytes.
        generate: Starts the content over; its blocks add up to `size`.
    """

    size: int
    generate: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Member:
    """One file or link of a package.

    Attributes:
        path: Relative to the prefix.
        data: Content of a file.
        executable: Mode 0755 instead of 0644.
        symlink: Target of a symbolic link.
        hardlink: Path of the member that this one is another name of.
    """

    path: str
    data: bytes | Blocks = b""
    executable: bool = False
    symlink: str | None = None
    hardlink: str | None = None

    @property
    def size(self) -> int:
        """Length of the content in bytes."""
        return self.data.size if isinstance(self.data, Blocks) else len(self.data)

    def blocks(self) -> Iterator[bytes]:
        """Yield the content."""
        if isinstance(self.data, Blocks):
            yield from self.data.generate()
        else:
            yield self.data


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What `info/index.json` and its neighbours say of a package.

    Attributes:
        noarch: `python` or `generic`; the package then is in the subdir `noarch`.
        entry_points: `name = module:function` lines of a `noarch: python` package.
        track_features: Features that make a solver prefer other builds.
        python_site_packages_path: Only of `python` itself.
    """

    name: str
    version: str
    build: str = "h0000000_0"
    build_number: int = 0
    subdir: str = "noarch"
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    license: str = ""
    noarch: str | None = None
    entry_points: tuple[str, ...] = ()
    summary: str = ""
    track_features: str = ""
    python_site_packages_path: str | None = None

    @property
    def stem(self) -> str:
        """File name without extension."""
        return f"{self.name}-{self.version}-{self.build}"

    def index(self) -> dict[str, object]:
        """Return the document `info/index.json`."""
        document: dict[str, object] = {
            "name": self.name,
            "version": self.version,
            "build": self.build,
            "build_number": self.build_number,
            "depends": list(self.depends),
            "constrains": list(self.constrains),
            "license": self.license,
            "subdir": self.subdir,
            "timestamp": MODIFIED * 1000,
        }
        if self.noarch is None:
            system, _, machine = self.subdir.partition("-")
            document |= {"platform": system, "arch": {"64": "x86_64", "32": "x86"}.get(machine, machine)}
        else:
            document |= {"noarch": self.noarch, "platform": None, "arch": None}
        if self.track_features:
            document["track_features"] = self.track_features
        if self.python_site_packages_path:
            document["python_site_packages_path"] = self.python_site_packages_path
        return document


def _path_entries(members: Iterable[Member]) -> list[dict[str, object]]:
    by_path = {member.path: member for member in members}
    digests: dict[str, str] = {}
    placeholder = PLACEHOLDER.encode()

    def digest(member: Member) -> str:
        if member.hardlink is not None:
            return digest(by_path[member.hardlink])
        if member.path not in digests:
            state = hashlib.sha256()
            for block in member.blocks():
                state.update(block)
            digests[member.path] = state.hexdigest()
        return digests[member.path]

    entries: list[dict[str, object]] = []
    for member in by_path.values():
        entry: dict[str, object] = {"_path": member.path}
        if member.symlink is not None:
            target = _followed(member, by_path)
            entry |= {
                "path_type": "softlink",
                "size_in_bytes": len(member.symlink.encode()),
                "sha256": digest(target) if target is not None else _EMPTY_SHA256,
            }
        else:
            content = by_path[member.hardlink] if member.hardlink is not None else member
            entry |= {"path_type": "hardlink", "size_in_bytes": content.size, "sha256": digest(member)}
            if isinstance(content.data, bytes) and placeholder in content.data:
                mode = "binary" if b"\0" in content.data else "text"
                entry |= {"file_mode": mode, "prefix_placeholder": PLACEHOLDER}
        entries.append(entry)
    return entries


def _followed(link: Member, by_path: dict[str, Member]) -> Member | None:
    """Return the file at the end of a chain of links, None if there is none."""
    member: Member | None = link
    for _ in range(_LONGEST_CHAIN):
        if member is None or member.symlink is None:
            return member
        member = by_path.get(posixpath.normpath(posixpath.join(posixpath.dirname(member.path), member.symlink)))
    return None


def info_members(metadata: Metadata, members: list[Member]) -> list[Member]:
    """Return the files under `info/` that describe `members`."""
    entries = _path_entries(members)
    documents: dict[str, object] = {
        "about.json": {"summary": metadata.summary or f"{metadata.name}, packaged for tests"},
        "index.json": metadata.index(),
        "paths.json": {"paths": entries, "paths_version": 1},
    }
    if metadata.noarch == "python":
        documents["link.json"] = {
            "noarch": {"type": "python", "entry_points": list(metadata.entry_points)},
            "package_metadata_version": 1,
        }
    files = {name: json.dumps(document, indent=2, sort_keys=True) for name, document in documents.items()}
    files["files"] = "".join(f"{entry['_path']}\n" for entry in entries)
    prefixed = [entry for entry in entries if "prefix_placeholder" in entry]
    if prefixed:
        files["has_prefix"] = "".join(f"{PLACEHOLDER} {e['file_mode']} {e['_path']}\n" for e in prefixed)
    return [Member(f"info/{name}", text.encode()) for name, text in sorted(files.items())]


class _BlockReader(io.RawIOBase):
    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts: list[bytes] = []
        missing = size
        while missing:
            block = self._rest or next(self._blocks, b"")
            if not block:
                break
            parts.append(block[:missing])
            self._rest = block[missing:]
            missing -= len(parts[-1])
        return b"".join(parts)


def _add_members(archive: tarfile.TarFile, members: Iterable[Member]) -> None:
    for member in members:
        entry = tarfile.TarInfo(member.path)
        entry.mtime = MODIFIED
        entry.mode = 0o755 if member.executable else 0o644
        if member.symlink is not None:
            entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, member.symlink, 0o777
            archive.addfile(entry)
        elif member.hardlink is not None:
            entry.type, entry.linkname = tarfile.LNKTYPE, member.hardlink
            archive.addfile(entry)
        else:
            entry.size = member.size
            archive.addfile(entry, _BlockReader(member.blocks()))


def _write_tar_bz2(path: Path, members: list[Member]) -> None:
    with tarfile.open(path, "w:bz2", compresslevel=9, format=tarfile.PAX_FORMAT) as archive:
        _add_members(archive, members)


def _write_conda(path: Path, info: list[Member], payload: list[Member], level: int) -> None:
    stem = path.name.removesuffix(Format.CONDA)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as container:
        container.writestr(_zip_entry("metadata.json"), json.dumps({"conda_pkg_format_version": 2}))
        for part, members in (("pkg", payload), ("info", info)):
            large = sum(member.size for member in members) > 1 << 30
            with container.open(_zip_entry(f"{part}-{stem}.tar.zst"), "w", force_zip64=large) as file:
                _write_tar_zst(file, members, level)


def _zip_entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def _write_tar_zst(file: IO[bytes], members: list[Member], level: int) -> None:
    compressor = zstandard.ZstdCompressor(level=level)
    with (
        compressor.stream_writer(file, closefd=False) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        _add_members(archive, members)


def write_package(
    directory: Path, metadata: Metadata, members: list[Member], formats: Iterable[Format], *, level: int = 6
) -> list[Path]:
    """Write a package into `directory` in each format; return the files.

    Args:
        directory: Usually `CHANNEL/SUBDIR`; it must exist.
        metadata: What the package says of itself.
        members: Its content without `info/`; written in order of their paths.
        formats: `.conda`, `.tar.bz2` or both.
        level: zstd level of `.conda`; `.tar.bz2` is always written at bzip2's highest, as conda-build does.
    """
    names = {member.path for member in members}
    payload = sorted(members, key=lambda member: (member.hardlink in names, member.path))
    info = info_members(metadata, payload)
    written = []
    for fmt in formats:
        path = directory / (metadata.stem + fmt)
        if fmt is Format.CONDA:
            _write_conda(path, info, payload, level)
        else:
            _write_tar_bz2(path, info + payload)
        written.append(path)
    return written
