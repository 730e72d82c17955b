"""What Python's tarfile, zipfile, bz2 and zstandard, which share no code with our reader, see in a package."""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from typing import Final

import zstandard

MOST: Final = 16 << 20  # bytes that are unpacked
_KINDS: Final = {
    tarfile.REGTYPE: "file", tarfile.AREGTYPE: "file", tarfile.CONTTYPE: "file", tarfile.LNKTYPE: "hard link",
    tarfile.SYMTYPE: "symbolic link", tarfile.DIRTYPE: "directory", tarfile.GNUTYPE_SPARSE: "sparse file",
}  # fmt: skip


class UnreadableError(Exception):
    """The reference does not read it, or not to its end."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A member.

    Attributes:
        path: Without empty and `.` segments.
        kind: One word or two.
        mode: Permission bits.
        size: Bytes of content, holes included.
        target: Of a link.
        sha256: Of the content as stored.
        mtime: Whole seconds since the epoch; 0 for sparse files, to which tarfile applies no global records.
    """

    path: bytes
    kind: str
    mode: int
    size: int
    target: bytes
    sha256: str
    mtime: int


def unpacked(name: str, data: bytes) -> list[bytes]:
    """Return the tar archives of a package, `info` before `pkg`.

    Raises:
        UnreadableError: The container, or a stream in it, is damaged, or it is more than 16 MiB.
    """
    try:
        if name.endswith(".tar.bz2"):
            with bz2.open(io.BytesIO(data)) as stream:
                found = [stream.read(MOST + 1)]
        else:
            found = _conda(data)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error) as exc:
        raise UnreadableError(str(exc)) from exc
    except (zstandard.ZstdError, LookupError, MemoryError, TypeError, RecursionError) as exc:
        raise UnreadableError(str(exc)) from exc
    if any(len(raw) > MOST for raw in found):
        raise UnreadableError("large")
    return found


def _conda(data: bytes) -> list[bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        if "metadata.json" in names and json.loads(archive.read("metadata.json"))["conda_pkg_format_version"] != 2:
            raise ValueError("version")
        found = []
        for part in ("info-", "pkg-"):
            [name] = [n for n in names if n.startswith(part) and n.endswith(".tar.zst")]
            decoder = zstandard.ZstdDecompressor(max_window_size=1 << 27)
            packed = io.BytesIO(archive.read(name))
            with decoder.stream_reader(packed, read_across_frames=True) as stream:
                found.append(stream.read(MOST + 1))
    return found


def read_tars(archives: list[bytes]) -> list[Seen]:
    """Return the members of tar archives.

    Raises:
        UnreadableError: One is no tar archive, or ends before a member does, or says what tarfile cannot make of it.
    """
    found: list[Seen] = []
    for raw in archives:
        if not raw.strip(b"\0"):
            continue  # tarfile takes an empty one for none
        try:
            with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as archive:
                found += [_seen(member, raw) for member in archive]
        except (tarfile.TarError, ValueError, OverflowError, LookupError, EOFError, OSError) as exc:
            raise UnreadableError(str(exc)) from exc
    return found


def _seen(member: tarfile.TarInfo, raw: bytes) -> Seen:
    kind = _KINDS.get(member.type)
    if kind is None:
        raise UnreadableError(f"type {member.type!r}")
    content = b""
    if kind in {"file", "sparse file"}:
        stretches: list[tuple[int, int]] | None = member.sparse  # type: ignore[assignment]  # its stub is wrong
        stored = member.size if stretches is None else sum(length for _, length in stretches)
        content = raw[member.offset_data : member.offset_data + stored]
        if len(content) != stored:
            raise UnreadableError("short")
    return Seen(
        path=b"/".join(part for part in _bytes(member.name).split(b"/") if part not in {b"", b"."}),
        kind=kind,
        mode=member.mode & 0o7777,
        size=member.size if content or kind in {"file", "sparse file"} else 0,
        target=_bytes(member.linkname) if kind.endswith("link") else b"",
        sha256=hashlib.sha256(content).hexdigest(),
        mtime=0 if kind == "sparse file" else int(member.mtime),
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
