"""A piece of work on one archive: what it reads, what it may cost, whether it shall stop."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from asynccache.archive.limits import Allowance, Limits
from asynccache.archive.root import Root
from asynccache.archive.tar_scan import TarScanner
from asynccache.errors import IntegrityError
from asynccache.model.digest import Digests, Hasher
from asynccache.model.package import split_filename

Cancelled = Callable[[], bool]
"""Returns whether to stop; called once for every block of up to 1 MiB."""
Progress = Callable[[int], None]
"""Called with the number of further bytes of the source archive that were read."""

_BLOCK: Final = 1 << 20  # bytes
_WORTH_READING: Final = 1 << 16  # bytes


class Work:
    """Reads one archive on behalf of a caller who may lose interest.

    Args:
        path: The archive.
        limits: What it may ask of this machine.
        cancelled: Whether to stop.
        progress: Called with bytes read.

    Raises:
        UsageError: Its name says no format.
        OSError: The file cannot be read.
    """

    def __init__(
        self, path: Path, limits: Limits, cancelled: Cancelled | None = None, progress: Progress | None = None
    ) -> None:
        self.path = path
        self.name = path.name
        self.format = split_filename(path.name)[1]
        self.limits = limits
        self._cancelled = cancelled
        self._progress = progress
        self._reported = 0
        self._before = path.stat()
        self.size = self._before.st_size
        self.restart()

    def restart(self) -> None:
        """Begin the archive again."""
        self.allowance = Allowance(self.limits, self.size, self.name)
        self.root = Root(self.limits)

    def scanner(self) -> TarScanner:
        """Return a scanner of one of its tar archives."""
        return TarScanner(self.limits, self.allowance, self.root, self.name)

    def check_cancelled(self) -> None:
        """Stop here if the caller wants it.

        Raises:
            CancelledError: He does.
        """
        if self._cancelled is not None and self._cancelled():
            from concurrent.futures import CancelledError  # noqa: PLC0415 - imports logging

            raise CancelledError

    def metered(self, blocks: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
        """Pass unpacked blocks on while they are within the limits and wanted; they are closed at the end.

        Raises:
            HostileArchiveError: The archive unpacks to too much.
            CancelledError: The caller asked to stop.
        """
        # many small streams give many small blocks: a reader waiting for a whole header would parse it again for each
        held: list[bytes] = []
        size = 0
        with closing(blocks):  # an error that is kept would keep the decoder, and its process, in its traceback
            for block in blocks:
                self.check_cancelled()
                self.allowance.stream(len(block))
                held.append(block)
                size += len(block)
                if size >= _WORTH_READING:
                    yield b"".join(held) if len(held) > 1 else block
                    held, size = [], 0
            if held:
                yield b"".join(held)

    def digest(self, *algorithms: str) -> Digests:
        """Read the archive's bytes and digest them."""
        hasher = Hasher(*algorithms)
        with self.path.open("rb", buffering=0) as file:
            while data := file.read(_BLOCK):
                self.check_cancelled()
                hasher.update(data)
        return hasher.digests()

    def report(self, position: int) -> None:
        """Report that the archive was read up to `position`."""
        if self._progress is not None and position > self._reported:
            self._progress(position - self._reported)
            self._reported = position

    def check_unchanged(self) -> None:
        """Refuse a file that was written to while it was read.

        Raises:
            IntegrityError: It is not the file that it was.
        """
        unchanged = False
        with suppress(OSError):
            unchanged = _identity(self.path.stat()) == _identity(self._before)
        if not unchanged:
            raise IntegrityError(f"{self.name} changed while it was read", hint="run again when nobody writes to it")


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns
