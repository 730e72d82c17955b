"""What was read and found to be what it should be, so that it is not read again while it stays the same.

A file of this machine's cache directory; it can be removed at any time. All functions block: call them in a thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from asynccache.runtime.sqlite_cache import SQLiteCache

_FORMAT: Final = 1
_SCHEMA: Final = "create table verified (place text, name text, version text, primary key (place, name)) without rowid"


class Verified:
    """The file.

    Args:
        cache_dir: The setting of the same name.
    """

    def __init__(self, cache_dir: Path) -> None:
        self._cache = SQLiteCache(cache_dir / "verified.sqlite", _FORMAT, _SCHEMA)

    def known(self, place: str) -> dict[str, str]:
        """Return name -> version of all that was verified in a place.

        Args:
            place: A store's identity or a directory.
        """
        sql = "select name, version from verified where place = ?"
        return dict(self._cache.do(lambda c: c.execute(sql, (place,)).fetchall()))

    def add(self, place: str, entries: Iterable[tuple[str, str]]) -> None:
        """Remember (name, version) pairs; a version is any text that changes with the object."""
        rows = [(place, *entry) for entry in entries]
        if rows:
            self._cache.do(lambda c: c.executemany("insert or replace into verified values (?, ?, ?)", rows))
