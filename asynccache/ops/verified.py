"""What was read and found to be what it should be, so that it is not read again while it stays the same.

A file of this machine's cache directory; it can be removed at any time. All functions block: call them in a thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Final

from asynccache.errors import DiskError

_SCHEMA: Final = (
    "create table if not exists verified (place text, name text, version text, primary key (place, name)) without rowid"
)
_WAIT: Final = 30.0  # seconds for another process


class Verified:
    """The file.

    Args:
        cache_dir: The setting of the same name.
    """

    def __init__(self, cache_dir: Path) -> None:
        self.path = cache_dir / "verified.sqlite"

    def known(self, place: str) -> dict[str, str]:
        """Return name -> version of all that was verified in a place.

        Args:
            place: A store's address or a directory.
        """
        rows = self._do("select name, version from verified where place = ?", [(place,)], read=True)
        return dict(rows)

    def add(self, place: str, entries: Iterable[tuple[str, str]]) -> None:
        """Remember (name, version) pairs; a version is any text that changes with the object."""
        self._do("insert or replace into verified values (?, ?, ?)", [(place, *entry) for entry in entries])

    def _do(self, sql: str, rows: list[tuple[str, ...]], *, read: bool = False) -> list[tuple[str, str]]:
        if not rows:
            return []
        try:
            return self._once(sql, rows, read=read)
        except sqlite3.OperationalError as exc:
            raise DiskError(
                f"{self.path} cannot be used ({exc})", hint="remove it, or set cache_dir elsewhere"
            ) from exc
        except sqlite3.DatabaseError:
            self.path.unlink(missing_ok=True)
            return self._once(sql, rows, read=read)

    def _once(self, sql: str, rows: list[tuple[str, ...]], *, read: bool) -> list[tuple[str, str]]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise DiskError(f"{self.path.parent} cannot be made ({exc.strerror})", hint="set cache_dir") from exc
        with closing(sqlite3.connect(self.path, timeout=_WAIT)) as connection, connection:
            connection.execute(_SCHEMA)
            if read:
                return connection.execute(sql, rows[0]).fetchall()
            connection.executemany(sql, rows)
            return []
