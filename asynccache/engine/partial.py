"""A download in progress: its bytes, their validator from the server, and their running digests.

Beside `NAME.part` is `NAME.part.json` with the address and the validator (ETag or Last-Modified) that the bytes belong
to, so that a later process can ask for the rest and only for the rest. All methods block: call them in a thread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from asynccache.model.digest import Digests, Hasher
from asynccache.node.disk import disk_errors
from asynccache.node.json_text import read_json


class PartialDownload:
    """The growing file of one package.

    Args:
        path: The file; `.json` is appended for its record.
        algorithms: Digests to compute while it grows.
    """

    def __init__(self, path: Path, algorithms: tuple[str, ...]) -> None:
        self.path = path
        self._record = path.with_name(path.name + ".json")
        self._algorithms = algorithms
        self._hasher = Hasher(*algorithms)
        self._file: int | None = None
        self.address = ""
        self.validator = ""
        self.loaded = False

    @property
    def size(self) -> int:
        """Bytes written and digested so far."""
        return self._hasher.size

    def load(self) -> None:
        """Take over what an earlier process left, digesting it again; start empty if there is nothing."""
        self.loaded = True
        try:
            record = read_json(self._record.read_text("utf-8"))
            self.address, self.validator = str(record["address"]), str(record["validator"])
            with self.path.open("rb") as file:
                while block := file.read(1 << 20):
                    self._hasher.update(block)
        except (OSError, ValueError, KeyError, TypeError):
            self.discard()

    def restart(self, address: str, validator: str) -> None:
        """Start over with bytes from `address`.

        Raises:
            DiskError: The files cannot be written.
        """
        self.discard()
        self.address, self.validator = address, validator
        with disk_errors(self.path):
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            self._record.write_text(json.dumps({"address": address, "validator": validator}), "utf-8")

    def append(self, blocks: Iterable[bytes]) -> None:
        """Write and digest the next bytes.

        Raises:
            DiskError: The disk is full or fails; the bytes so far remain usable.
        """
        with disk_errors(self.path):
            if self._file is None:
                self._file = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
                os.ftruncate(self._file, self.size)
                os.lseek(self._file, self.size, os.SEEK_SET)
            for block in blocks:
                view = memoryview(block)
                while view:
                    written = os.write(self._file, view)
                    self._hasher.update(view[:written])
                    view = view[written:]

    def close(self) -> None:
        """Close the file; it can be continued."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def digests(self) -> Digests:
        """Return size and digests of the bytes so far."""
        return self._hasher.digests()

    def first_bytes(self, count: int = 512) -> bytes:
        """Return the beginning of the file, to find out what it really is."""
        with suppress(OSError), self.path.open("rb") as file:
            return file.read(count)
        return b""

    def discard(self) -> None:
        """Remove the files and start over."""
        self.close()
        self.path.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)
        self._hasher = Hasher(*self._algorithms)
        self.address = self.validator = ""

    def finish(self, target: Path) -> None:
        """Rename the complete file and remove the record.

        Raises:
            DiskError: It cannot be renamed.
        """
        self.close()
        with disk_errors(target):
            self.path.replace(target)
            self._record.unlink(missing_ok=True)
