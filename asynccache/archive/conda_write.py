"""Write a `.conda` file: three stored entries, the metadata first and `info` last, as other tools write them.

The package archive is written straight into the file and its header completed afterwards; the info archive, which must
come behind it, is buffered meanwhile (small ones in memory). Output bytes depend on the content alone.
"""

from __future__ import annotations

import json
import struct
import tempfile
import zlib
from pathlib import Path
from typing import IO, Final

from asynccache.archive.conda_read import FORMAT_VERSION, METADATA, SUFFIX
from asynccache.archive.member import Component

# Readers that take sizes for signed fail from here on, and Python's zipfile switches here as well.
ZIP64_LIMIT: Final = (1 << 31) - 1  # bytes
_SPOOL: Final = 8 << 20  # bytes of the info archive that are kept in memory
_COPY: Final = 1 << 20  # bytes
_DATE: Final = 0x21  # 1980-01-01, the first day of ZIP
_MODE: Final = 0o100644 << 16  # a plain file, in the upper half of the external attributes
_UNIX: Final = 3 << 8
_FULL: Final = 0xFFFFFFFF


class TooLargeError(Exception):
    """The package archive outgrew a header without ZIP64: write again with room for it."""


class CondaWriter:
    """Writes one `.conda` file.

    Args:
        file: Open for writing and reading, empty.
        stem: The package's file name without extension.
        large: Make room for a package archive of more than 2 GiB.
    """

    def __init__(self, file: IO[bytes], stem: str, *, large: bool) -> None:
        self._file = file
        self._stem = stem
        self._large = large
        self._directory: list[bytes] = []
        self._info: IO[bytes] = tempfile.SpooledTemporaryFile(_SPOOL, dir=str(Path(file.name).parent))  # noqa: SIM115
        self._crcs = dict.fromkeys(Component, 0)
        self._sizes = dict.fromkeys(Component, 0)
        metadata = json.dumps({"conda_pkg_format_version": FORMAT_VERSION}).encode()
        self._begin(METADATA, zlib.crc32(metadata), len(metadata), large=False)
        file.write(metadata)
        self._pkg_at = self._begin(self._name(Component.PKG), 0, 0, large=large)

    def write(self, component: Component, data: bytes) -> None:
        """Append compressed bytes to a component.

        Raises:
            TooLargeError: The package archive is larger than its header can say.
        """
        self._crcs[component] = zlib.crc32(data, self._crcs[component])
        self._sizes[component] += len(data)
        if component is Component.INFO:
            self._info.write(data)
            return
        if self._sizes[component] > ZIP64_LIMIT and not self._large:
            raise TooLargeError
        self._file.write(data)

    def finish(self) -> None:
        """Complete the file."""
        end = self._file.tell()
        self._directory.pop()
        self._file.seek(self._pkg_at)
        pkg = Component.PKG
        self._begin(self._name(pkg), self._crcs[pkg], self._sizes[pkg], large=self._large)
        self._file.seek(end)
        info = Component.INFO
        size = self._sizes[info]
        self._begin(self._name(info), self._crcs[info], size, large=size > ZIP64_LIMIT)
        self._info.seek(0)
        while data := self._info.read(_COPY):
            self._file.write(data)
        self._write_directory()

    def close(self) -> None:
        """Let go of what was buffered."""
        self._info.close()

    def _name(self, component: Component) -> str:
        return f"{component.value}-{self._stem}{SUFFIX}"

    def _begin(self, name: str, crc: int, size: int, *, large: bool) -> int:
        """Write a local header here and note the entry for the directory; return where it starts."""
        offset = self._file.tell()
        text = name.encode()
        flags = 0 if name.isascii() else 0x800
        version = 45 if large else 20
        extra = struct.pack("<2H2Q", 1, 16, size, size) if large else b""
        narrow = _FULL if large else size
        common = struct.pack("<5H3L2H", version, flags, 0, 0, _DATE, crc, narrow, narrow, len(text), len(extra))
        self._file.write(b"PK\3\4" + common + text + extra)
        far = offset > ZIP64_LIMIT
        wide = ([size, size] if large else []) + ([offset] if far else [])
        extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        version = 45 if wide else 20
        common = struct.pack("<5H3L2H", version, flags, 0, 0, _DATE, crc, narrow, narrow, len(text), len(extra))
        rest = struct.pack("<3H2L", 0, 0, 0, _MODE, _FULL if far else offset)
        self._directory.append(b"PK\1\2" + struct.pack("<H", _UNIX | version) + common + rest + text + extra)
        return offset

    def _write_directory(self) -> None:
        start = self._file.tell()
        directory = b"".join(self._directory)
        self._file.write(directory)
        count, length = len(self._directory), len(directory)
        narrow = start
        if start > ZIP64_LIMIT:
            end = start + length
            record = struct.pack("<Q2H2L4Q", 44, _UNIX | 45, 45, 0, 0, count, count, length, start)
            self._file.write(b"PK\6\6" + record + b"PK\6\7" + struct.pack("<LQL", 0, end, 1))
            narrow = _FULL
        self._file.write(b"PK\5\6" + struct.pack("<4H2LH", 0, 0, count, count, length, narrow, 0))
