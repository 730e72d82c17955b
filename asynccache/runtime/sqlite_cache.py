"""A cache in one sqlite file, which nothing depends on: if damaged or of another format, it is re-created; if it cannot
be written, or another process holds it for too long, its content is used, and additions are kept in memory.

All functions block: call them in a thread.
"""

from __future__ import annotations

import stat
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")
_WAIT: Final = 30.0  # seconds for another process that writes


class SQLiteCache:
    """The file.

    Args:
        path: Its path; it and its directory are created on first use. If a group may write to the directory, it may
            write to the file. None to keep everything in memory.
        format: Number of the schema; a file with another one is emptied.
        schema: Statements that create its tables, separated by semicolons.
    """

    def __init__(self, path: Path | None, format: int, schema: str) -> None:  # noqa: A002 - what it is
        self.path = path
        self._format = format
        self._schema = schema
        self._memory: sqlite3.Connection | None = None
        self._guard = threading.Lock()

    def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction; it may run twice."""
        import sqlite3  # noqa: PLC0415 - most commands read no cache

        if self._memory is None:
            try:
                try:
                    return self._in_file(work)
                except sqlite3.OperationalError:
                    raise
                except sqlite3.DatabaseError:  # damaged
                    if self.path is not None:
                        self.path.unlink(missing_ok=True)
                    return self._in_file(work)
            except (OSError, sqlite3.Error):
                with self._guard:
                    if self._memory is None:
                        self._memory = self._copied()
                        weakref.finalize(self, self._memory.close)
        with self._guard, self._memory:
            return work(self._memory)

    def _in_file(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self.path is None:
            raise FileNotFoundError
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _opened(str(self.path)) as connection:
            if self._prepare(connection):
                _share(self.path)
            return work(connection)

    def _copied(self) -> sqlite3.Connection:
        """Return a database in memory with the content of the file, as far as that can be read."""
        import sqlite3  # noqa: PLC0415

        memory = sqlite3.connect(":memory:", check_same_thread=False)
        if self.path is not None:
            address = f"{self.path.absolute().as_uri()}?mode=ro"
            with suppress(sqlite3.Error), _opened(address, uri=True) as there:
                there.execute("begin")
                _format_of(there)  # takes the lock for reading, or fails: a backup would wait for it without end
                there.backup(memory)
        self._prepare(memory)
        return memory

    def _prepare(self, connection: sqlite3.Connection) -> bool:
        """Create missing tables; return whether that was done."""
        if _format_of(connection) == self._format:
            return False
        # under the write lock, and checked again: others may find the new file at the same time
        connection.execute("begin immediate")
        if _format_of(connection) != self._format:
            for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
                connection.execute(f'drop table "{table}"')
            for statement in self._schema.split(";"):
                connection.execute(statement)
            connection.execute(f"pragma user_version = {self._format}")
        connection.commit()
        return True


def _share(path: Path) -> None:
    """Give the directory's group write access, whatever the umask; sqlite's other files are created likewise."""
    with suppress(OSError):
        if path.parent.stat().st_mode & stat.S_IWGRP:
            path.chmod(path.stat().st_mode | stat.S_IRGRP | stat.S_IWGRP)


@contextmanager
def _opened(address: str, *, uri: bool = False) -> Iterator[sqlite3.Connection]:
    import sqlite3  # noqa: PLC0415

    with closing(sqlite3.connect(address, timeout=_WAIT, uri=uri)) as connection, connection:
        yield connection


def _format_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("pragma user_version").fetchone()[0])
