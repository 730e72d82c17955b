"""What was read and found correct, so that it is not read again while it is unchanged.

Two files on each machine; both can be removed at any time. All functions block: call them in a thread.

`verified.sqlite` in the cache directory saves reading. It is shared by all users of that directory, so nothing may be
run because of it. `vouched.sqlite` holds what this user made, compared or read, and therefore vouches for. It is in the
cache directory if no other user can write to it, otherwise in the user's home, otherwise nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from asynccache.node.user import home_directory, others_can_write
from asynccache.runtime.sqlite_cache import SQLiteCache

if TYPE_CHECKING:
    import sqlite3

_FORMAT: Final = 1
_SCHEMA: Final = "create table verified (place text, name text, version text, primary key (place, name)) without rowid"
_VOUCHED: Final = "vouched.sqlite"


class Verified:
    """One of the files.

    Args:
        path: The file; None to remember nothing beyond this process.
    """

    def __init__(self, path: Path | None) -> None:
        self._cache = SQLiteCache(path, _FORMAT, _SCHEMA)

    @classmethod
    def shared(cls, cache_dir: Path) -> Verified:
        """Return the record that saves reading; `cache_dir` is the setting of that name."""
        return cls(cache_dir / "verified.sqlite")

    @classmethod
    def own(cls, cache_dir: Path) -> Verified:
        """Return the record of what this user vouches for; `cache_dir` is the setting of that name."""
        return cls(_own_file(cache_dir))

    def known(self, place: str) -> dict[str, str]:
        """Return name -> version of everything that was verified in a place.

        Args:
            place: A store's identity, a directory, or a kind of statement.
        """
        sql = "select name, version from verified where place = ?"
        return dict(self._cache.do(lambda c: c.execute(sql, (place,)).fetchall()))

    def version(self, place: str, name: str) -> str | None:
        """Return the version that was verified under a name; None if there is none."""
        sql = "select version from verified where place = ? and name = ?"
        found = self._cache.do(lambda c: c.execute(sql, (place, name)).fetchone())
        return None if found is None else str(found[0])

    def add(self, place: str, entries: Iterable[tuple[str, str]], *, most: int | None = None) -> None:
        """Remember (name, version) pairs; a version is any text that changes with the object.

        Args:
            place: As for `known`.
            entries: The pairs.
            most: How many entries of the place are kept before all older ones are forgotten; None for all.
        """
        rows = [(place, *entry) for entry in entries]

        def write(connection: sqlite3.Connection) -> None:
            count = "select count(*) from verified where place = ?"
            if most is not None and connection.execute(count, (place,)).fetchone()[0] + len(rows) > most:
                connection.execute("delete from verified where place = ?", (place,))
            connection.executemany("insert or replace into verified values (?, ?, ?)", rows)

        if rows:
            self._cache.do(write)


def _own_file(cache_dir: Path) -> Path | None:
    home = home_directory()
    for directory in (cache_dir, Path(home) / ".cache" / "asynccache" if home is not None else None):
        if directory is None:
            continue
        with suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
            if not others_can_write(directory.stat()):
                return _private(directory / _VOUCHED)
    return None


def _private(path: Path) -> Path:
    """Return a file that no other user can have written: any other one is removed."""
    try:
        if others_can_write(path.lstat()) or path.is_symlink():
            path.unlink()
    except FileNotFoundError:
        pass
    with suppress(OSError):  # on a read-only file system, existing entries can be read
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return path
