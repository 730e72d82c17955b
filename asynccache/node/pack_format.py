"""The packed environment's format: head, independent zstd frames, index, footer (docs/packed-environments.md).

    head     8 bytes   MAGIC
    frames             each one zstd frame; decompressed one after the other, they are all files one after the other
    index              one zstd frame of JSON
    footer  64 bytes   MAGIC, index offset, index size, index size decompressed (u64 each), sha256 of
                       the index as stored

The footer's digest covers the index, whose digests cover the frames: it is the digest of the whole.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import struct
from dataclasses import dataclass
from typing import Any, Callable, NamedTuple

from asynccache.node.errors import PackUnusableError
from asynccache.node.json_text import read_json

MAGIC = b"ACPACK\x00\x01"
VERSION = 1
OBJECT_NAME = "asynccache-pack-v1"  # beside the environment's document; other readers never look for it
PREFIX = "/asynccache_prefix_7d1e0b4c59a84"  # 32 bytes: fits wherever the oldest placeholders are
_FOOTER = struct.Struct("<8sQQQ32s")
FOOTER_BYTES = _FOOTER.size
LARGEST_INDEX = 1 << 30  # bytes, decompressed; more is refused
LARGEST_FRAME = 1 << 32

Decompress = Callable[[bytes, int], bytes]
"""(one frame, its decompressed size in bytes) -> its content; raises PackUnusableError."""


def damaged(reason: str) -> PackUnusableError:
    """Return the error of an invalid pack."""
    return PackUnusableError(
        f"the packed environment is damaged ({reason}); pack it again with `asynccache pack --force`"
    )


class Footer(NamedTuple):
    """Position of the index.

    Attributes:
        offset: Of the index in the object, in bytes.
        size: Of the index as stored.
        raw_size: Of the index decompressed.
        digest: sha256 of the index as stored, in hexadecimal digits: identifies the whole pack.
    """

    offset: int
    size: int
    raw_size: int
    digest: str

    def to_bytes(self) -> bytes:
        """Return the footer as stored."""
        return _FOOTER.pack(MAGIC, self.offset, self.size, self.raw_size, bytes.fromhex(self.digest))

    @classmethod
    def parse(cls, data: bytes, object_size: int) -> Footer:
        """Read the last bytes of an object.

        Raises:
            PackUnusableError: They are not a footer, or point outside of the object.
        """
        if len(data) != FOOTER_BYTES or not data.startswith(MAGIC):
            raise damaged("it does not end as a pack does: truncated, or of another version")
        _magic, offset, size, raw_size, digest = _FOOTER.unpack(data)
        if offset < len(MAGIC) or offset + size + FOOTER_BYTES != object_size or not 0 < raw_size <= LARGEST_INDEX:
            raise damaged("its footer points outside of its %d bytes" % object_size)
        return cls(offset, size, raw_size, digest.hex())


class Frame(NamedTuple):
    """One independent frame.

    Attributes:
        offset: Position in the object, in bytes.
        size: Stored size.
        raw_offset: Position in the concatenation of all files.
        raw_size: Decompressed size.
        digest: sha256 as stored, in hexadecimal digits.
    """

    offset: int
    size: int
    raw_offset: int
    raw_size: int
    digest: str


class File(NamedTuple):
    """One file.

    Attributes:
        path: Relative to the prefix.
        mode: Permissions.
        raw_offset: Position in the concatenation of all files.
        size: Size in bytes, before the prefix is written into it.
        patches: Changes to make in it; empty for most. `t`: offsets of the placeholder in text. `s`: it begins with an
            interpreter line, of a conda package (1) or of an installed wheel (2). `b`: (offset, length, room) of C
            strings with the placeholder, and how many bytes they can grow. `d`: (offset, length, number of a file,
            kind) of that file's digest, as hexadecimal digits (`x`) or as in RECORD (`r`, with the size), or of its
            size (`s`).
        sha256: sha256 of its content before the prefix is written into it; empty in packs of older versions.
    """

    path: str
    mode: int
    raw_offset: int
    size: int
    patches: dict[str, Any]
    sha256: str = ""

    @property
    def bytecode(self) -> bool:
        """Whether Python re-creates it if it is missing."""
        return self.path.endswith(".pyc") and self.path.rpartition("/")[0].endswith("__pycache__")


@dataclass
class Index:
    """The content of a pack.

    Args:
        about: Everything but files: `format`, `made_by`, `env` (req_id, full_id, arch), `prefix` (the placeholder),
            `longest_prefix` (bytes; None for any), `bytecode` (Python version or None), `notes`, `link_scripts`.
        frames: Frames, in order.
        directories: (path, mode), parents first.
        links: (path, target).
        files: Files, in order.
    """

    about: dict[str, Any]
    frames: list[Frame]
    directories: list[tuple[str, int]]
    links: list[tuple[str, str]]
    files: list[File]

    def __post_init__(self) -> None:
        self._begins = [f.raw_offset for f in self.files]
        self._ends = [f.raw_offset + f.size for f in self.files]

    @property
    def raw_bytes(self) -> int:
        """Size of all files."""
        return sum(frame.raw_size for frame in self.frames)

    def files_in(self, frame: Frame) -> list[int]:
        """Return the numbers of the files that have bytes in a frame."""
        first = bisect.bisect_right(self._ends, frame.raw_offset)
        beyond = bisect.bisect_left(self._begins, frame.raw_offset + frame.raw_size)
        return [number for number in range(first, beyond) if self.files[number].size]

    def to_json(self) -> bytes:
        """Return the compressed index."""
        files = [[f.path, f.mode, f.size, f.patches, f.sha256] for f in self.files]
        frames = [[f.offset, f.size, f.raw_size, f.digest] for f in self.frames]
        tree = {"frames": frames, "directories": self.directories, "links": self.links, "files": files}
        document = {**self.about, **tree}
        return json.dumps(document, separators=(",", ":"), sort_keys=True).encode("ascii")

    @classmethod
    def parse(cls, data: bytes, end: int) -> Index:
        """Parse and validate an index.

        Args:
            data: The decompressed index.
            end: End of the frames in the object.

        Raises:
            PackUnusableError: It is of another version, contradicts itself, or would leave the prefix.
        """
        try:
            about = read_json(data.decode("utf-8"))
            if about["format"] != VERSION:
                raise PackUnusableError(
                    "the packed environment has format %r, and this version reads %d; take the same version of"
                    " asynccache on both sides" % (about["format"], VERSION)
                )
            frames, at, raw = [], len(MAGIC), 0
            for offset, size, raw_size, digest in about.pop("frames"):
                if offset != at or size <= 0 or not 0 < raw_size <= LARGEST_FRAME or len(digest) != 64:
                    raise damaged("its frames do not follow each other")
                frames.append(Frame(offset, size, raw, raw_size, digest))
                at, raw = at + size, raw + raw_size
            directories = [(_checked(path), int(mode)) for path, mode in about.pop("directories")]
            links = [(_checked(path), str(target)) for path, target in about.pop("links")]
            files, position = [], 0
            for entry in about.pop("files"):
                # older packs have no sha256, and list changes only if there are some
                patches = entry[3] if len(entry) > 3 else {}
                sha256 = str(entry[4]) if len(entry) > 4 else ""
                file = File(_checked(entry[0]), int(entry[1]), position, int(entry[2]), patches, sha256)
                if file.size < 0 or not isinstance(patches, dict):
                    raise damaged("a file has an impossible size")
                files.append(file)
                position += file.size
        except (ValueError, KeyError, TypeError, IndexError, RecursionError) as exc:
            raise damaged(f"its index cannot be read: {exc}") from exc
        if at != end or raw != position:
            raise damaged("its frames and files are not of one size")
        index = cls(about, frames, directories, links, files)
        index._check_tree()
        return index

    def _check_tree(self) -> None:
        known = {""}
        for path, _mode in self.directories:
            if path.rpartition("/")[0] not in known or path in known:
                raise damaged(f"the directory {path!r} has no place")
            known.add(path)
        seen = set(known)
        for path in [path for path, _target in self.links] + [file.path for file in self.files]:
            # no link is a directory, so that nothing is ever written through one
            if path.rpartition("/")[0] not in known or path in seen:
                raise damaged(f"{path!r} has no place, or two")
            seen.add(path)
        for frame in self.frames:
            end = frame.raw_offset + frame.raw_size
            for number in self.files_in(frame):
                file = self.files[number]
                inside = file.raw_offset >= frame.raw_offset and file.raw_offset + file.size <= end
                if file.patches and not inside:
                    raise damaged(f"{file.path!r} must be changed and spans several frames")


def digest_of(data: bytes) -> str:
    """Return the sha256 of bytes in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _checked(path: Any) -> str:
    if not isinstance(path, str) or "\0" in path or any(part in {"", ".", ".."} for part in path.split("/")):
        raise damaged(f"{path!r} is no path inside of a prefix")
    return path
