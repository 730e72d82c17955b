"""Writing a pack from a linked directory: finds the placeholder, cuts frames, compresses them in parallel."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import field
from pathlib import Path
from typing import Any, Final

import zstandard

from asynccache.errors import TransmuteError
from asynccache.hydrate.bytecode import is_byte_code_of
from asynccache.model.dataclass import dataclass
from asynccache.node import pack_format as packs
from asynccache.node.disk import disk_errors
from asynccache.node.json_text import read_json
from asynccache.node.pack_patch import CONDA, WHEEL

FRAME: Final = (
    4 << 20
)  # bytes of a frame, decompressed: small compared with memory, large compared with the cost of one
_PREFIX: Final = packs.PREFIX.encode()
_MACHINE: Final = (
    "extracted_package_dir",
    "package_tarball_full_path",
    "link",
)  # fields of conda-meta that are true on this machine only


@dataclass(slots=True)
class _Entry:
    path: str
    mode: int
    size: int
    source: Path
    content: bytes | None = None  # if it is not that of `source`
    patches: dict[str, Any] = field(default_factory=dict)
    sha256: bytes = b""


@dataclass(slots=True)
class Planned:
    """What of a tree goes into a pack; `index` returns it without frames, once every file's sha256 is known."""

    directories: list[tuple[str, int]]
    links: list[tuple[str, str]]
    entries: list[_Entry]
    longest_prefix: int | None

    def index(self, about: dict[str, Any], frames: list[packs.Frame]) -> packs.Index:
        """Return the index; the files must have been read before, by `frames` or `read`."""
        files, offset = [], 0
        for entry in self.entries:
            files.append(packs.File(entry.path, entry.mode, offset, entry.size, entry.patches, entry.sha256.hex()))
            offset += entry.size
        whole = {**about, "longest_prefix": self.longest_prefix}
        return packs.Index(whole, frames, self.directories, self.links, files)

    def read(self, stop: Callable[[], bool]) -> None:
        """Read all files, for their digests."""
        for _content in _frames(self.entries):
            if stop():
                raise TransmuteError("packing was stopped")


def plan_pack(tree: Path) -> Planned:
    """Find what of a tree goes into a pack, and where the prefix has to be written. Blocking.

    Args:
        tree: A tree that is linked with the placeholder as prefix.

    Raises:
        OSError: The disk cannot be read.
    """
    directories, links, entries = _scan(tree)
    longest = _find_prefixes(tree, entries)
    entries.sort(key=lambda e: (bool(e.patches.get("d")), e.path))  # files that contain digests of others come last
    _find_digests(entries)
    return Planned(directories, links, entries, longest)


def write_pack(
    planned: Planned,
    path: Path,
    about: dict[str, Any],
    *,
    level: int,
    threads: int,
    stop: Callable[[], bool],
) -> packs.Index:
    """Write a pack. Blocking.

    Args:
        planned: What goes into it.
        path: The file to write.
        about: What the index contains besides files.
        level: zstd level.
        threads: Number of threads that compress.
        stop: Returns whether to stop.

    Returns:
        Its index.

    Raises:
        DiskError: The disk is full or cannot be read or written.
        TransmuteError: It was stopped.
    """
    frames: list[packs.Frame] = []
    at, raw = len(packs.MAGIC), 0
    compress = zstandard.ZstdCompressor

    def compressed(data: bytes) -> tuple[int, bytes]:
        return len(data), compress(level=level, write_checksum=False, write_content_size=True).compress(data)

    with disk_errors(path), path.open("wb") as file, ThreadPoolExecutor(threads) as pool:
        file.write(packs.MAGIC)
        waiting: deque[Future[tuple[int, bytes]]] = deque()

        def write_first() -> None:
            nonlocal at, raw
            raw_size, data = waiting.popleft().result()
            file.write(data)
            frames.append(packs.Frame(at, len(data), raw, raw_size, packs.digest_of(data)))
            at, raw = at + len(data), raw + raw_size

        for content in _frames(planned.entries):
            if stop():
                raise TransmuteError("packing was stopped")
            waiting.append(pool.submit(compressed, content))
            if len(waiting) > 2 * threads:  # files are read while frames are compressed
                write_first()
        while waiting:
            write_first()
        index = planned.index(about, frames)
        text = index.to_json()
        stored = compress(level=level, write_checksum=False, write_content_size=True).compress(text)
        file.write(stored)
        file.write(packs.Footer(at, len(stored), len(text), packs.digest_of(stored)).to_bytes())
    packs.Index.parse(text, at)  # published objects are readable
    return index


def _scan(tree: Path) -> tuple[list[tuple[str, int]], list[tuple[str, str]], list[_Entry]]:
    directories: list[tuple[str, int]] = []
    links: list[tuple[str, str]] = []
    entries: list[_Entry] = []
    for root, names, files in os.walk(tree):
        names.sort()
        for name in sorted([*names, *files]):
            full = Path(root, name)
            path = full.relative_to(tree).as_posix()
            about = full.lstat()
            if stat.S_ISLNK(about.st_mode):
                links.append((path, os.readlink(full)))  # noqa: PTH115 - the text, not a path
            elif stat.S_ISDIR(about.st_mode):
                directories.append((path, stat.S_IMODE(about.st_mode) & 0o777 | 0o700))
            elif stat.S_ISREG(about.st_mode):
                entries.append(_entry(full, path, about))
    return sorted(directories, key=lambda d: d[0].split("/")), sorted(links), entries


def _entry(full: Path, path: str, about: os.stat_result) -> _Entry:
    entry = _Entry(path, stat.S_IMODE(about.st_mode) & 0o777, about.st_size, full)
    if path.startswith("conda-meta/"):
        entry.mode = 0o644
        if path.endswith(".json"):
            record = read_json(full.read_bytes())
            for key in _MACHINE:
                record.pop(key, None)
            entry.content = json.dumps(record, indent=2, ensure_ascii=False).encode()
        elif path == "conda-meta/history":
            entry.content = b""
    elif path.endswith(".pyc"):
        entry.content = _unchecked(full)
    if entry.content is not None:
        entry.size = len(entry.content)
    return entry


def _unchecked(path: Path) -> bytes | None:
    """Return byte code from a package without its source's time, which unpacking does not preserve."""
    if path.parent.name == "__pycache__":
        source = path.parent.parent / (path.name.partition(".")[0] + ".py")
    else:
        source = path.with_suffix(".py")
    if not is_byte_code_of(path, source):
        return None
    data = path.read_bytes()
    return data[:4] + (1).to_bytes(4, "little") + bytes(8) + data[16:]


def _find_prefixes(tree: Path, entries: list[_Entry]) -> int | None:
    """Find where the placeholder is; return how long a prefix may be, None for any length."""
    binary, conda = _records(tree)
    longest: int | None = None
    for entry in entries:
        data = entry.content if entry.content is not None else _read_if_prefixed(entry.source)
        if data is None or _PREFIX not in data:
            continue
        entry.sha256 = hashlib.sha256(data).digest()
        if entry.path in binary:
            strings = _strings(data, len(binary[entry.path]))
            entry.patches["b"] = strings
            for at, length, room in strings:
                count = data[at : at + length].count(_PREFIX)
                fits = len(_PREFIX) + room // count
                longest = fits if longest is None else min(longest, fits)
        else:
            entry.patches["t"] = [match.start() for match in re.finditer(re.escape(_PREFIX), data)]
            first = data.partition(b"\n")[0]
            if first.startswith(b"#!") and _PREFIX in first:
                entry.patches["s"] = CONDA if entry.path in conda else WHEEL
    return longest


def _records(tree: Path) -> tuple[dict[str, str], set[str]]:
    """Return the placeholders of binary files, and all paths of conda packages."""
    binary: dict[str, str] = {}
    conda: set[str] = set()
    for path in (tree / "conda-meta").glob("*.json"):
        for entry in read_json(path.read_bytes()).get("paths_data", {}).get("paths", []):
            conda.add(entry["_path"])
            if entry.get("file_mode") == "binary" and entry.get("prefix_placeholder"):
                binary[entry["_path"]] = entry["prefix_placeholder"]
    return binary, conda


def _read_if_prefixed(path: Path) -> bytes | None:
    """Return a file's content if the placeholder is in it, in bounded memory for other files."""
    with path.open("rb") as file:
        kept = b""
        while piece := file.read(8 << 20):
            if _PREFIX in kept + piece:
                return path.read_bytes()
            kept = piece[-len(_PREFIX) :]
    return None


def _strings(data: bytes, placeholder: int) -> list[list[int]]:
    """Return [offset, length, room] of the C strings: linking has padded each with as many zeros as it became
    shorter.
    """
    found, at = [], 0
    while (at := data.find(_PREFIX, at)) >= 0:
        end = data.find(b"\0", at)
        end = len(data) if end < 0 else end
        room = data.count(_PREFIX, at, end) * (placeholder - len(_PREFIX))
        room = min(room, len(data) - end)
        found.append([at, end - at, room])
        at = end + room
    return found


def _find_digests(entries: list[_Entry]) -> None:
    """Find digests of files that will be changed in `conda-meta` and RECORD, where they have to be changed too."""
    changed = {number: entry for number, entry in enumerate(entries) if entry.patches and entry.size}
    numbers = {entry.path: number for number, entry in changed.items()}
    for entry in entries:
        found: list[list[Any]] = []
        if entry.path.startswith("conda-meta/") and entry.content:
            found = _find_in_metadata(entry, numbers, changed)
        elif entry.path.endswith(".dist-info/RECORD"):
            data = entry.source.read_bytes()
            base = entry.path.rsplit("/", 2)[0]
            for match in re.finditer(rb"(?m)^([^,\n]+),sha256=([A-Za-z0-9_-]{43},\d+)\r?$", data):
                number = numbers.get(os.path.normpath(f"{base}/{match[1].decode('utf-8', 'replace')}"))
                if number is not None and match[2] == _row(changed[number]):
                    found.append([match.start(2), len(match[2]), number, "r"])
        if found:
            entry.patches["d"] = found
    # they come after all files whose digests they hold
    order = sorted(range(len(entries)), key=lambda n: ("d" in entries[n].patches, n))
    moved = {old: new for new, old in enumerate(order)}
    entries[:] = [entries[n] for n in order]
    for entry in entries:
        for row in entry.patches.get("d", ()):
            row[2] = moved[row[2]]


def _find_in_metadata(holder: _Entry, numbers: dict[str, int], changed: dict[int, _Entry]) -> list[list[Any]]:
    """Find digests and sizes in a package's record, by first writing it with marks in their positions."""
    record = read_json(holder.content or b"")
    for row in record.get("paths_data", {}).get("paths", []):
        number = numbers.get(row["_path"], -1)
        for key in ("sha256", "sha256_in_prefix"):
            if number >= 0 and row.get(key) == changed[number].sha256.hex():
                row[key] = f"\0{number}:x"
        if number >= 0 and row.get("size_in_bytes") == changed[number].size:
            row["size_in_bytes"] = f"\0{number}:s"
    text = json.dumps(record, indent=2, ensure_ascii=False).encode()
    parts: list[bytes] = []
    found: list[list[Any]] = []
    done = length = 0
    for match in re.finditer(rb'"\\u0000(\d+):([xs])"', text):
        number, kind = int(match[1]), match[2].decode()
        value = str(changed[number].size).encode() if kind == "s" else changed[number].sha256.hex().encode()
        quote = b"" if kind == "s" else b'"'
        before = text[done : match.start()] + quote
        found.append([length + len(before), len(value), number, kind])
        parts += [before, value, quote]
        length += len(before) + len(value) + len(quote)
        done = match.end()
    holder.content = b"".join([*parts, text[done:]])
    holder.size = len(holder.content)
    return found


def _row(entry: _Entry) -> bytes:
    return base64.urlsafe_b64encode(entry.sha256).rstrip(b"=") + b",%d" % entry.size


def _frames(entries: list[_Entry]) -> Iterator[bytes]:
    """Yield the content of frames; a file that will be changed is in one frame, another large one in several.

    Each entry has its sha256 once the frames are done.
    """
    pending = bytearray()
    for entry in entries:
        digest = hashlib.sha256()
        if entry.patches and pending and len(pending) + entry.size > FRAME:
            yield bytes(pending)
            pending.clear()
        for piece in _pieces(entry, len(pending)):
            digest.update(piece)
            pending += piece
            if len(pending) >= FRAME:
                yield bytes(pending)
                pending.clear()
        entry.sha256 = digest.digest()
    if pending:
        yield bytes(pending)


def _pieces(entry: _Entry, pending: int) -> Iterator[bytes]:
    """Yield a file's content: whole if it is in memory or will be changed, otherwise up to the ends of frames."""
    if entry.content is not None or entry.patches:
        yield entry.content if entry.content is not None else entry.source.read_bytes()
        return
    with entry.source.open("rb") as file:
        while piece := file.read(FRAME - pending):
            yield piece
            pending = (pending + len(piece)) % FRAME
