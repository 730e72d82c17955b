"""Summaries of a catalog's content: an index of a manifest or a store, so that a list needs no document.

The index is a cache in a file of its own. Each row carries the version of what it was made from; if it is damaged or
removed, it is rebuilt. Nothing else reads it. All functions block: call them in a thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.identity import EnvID
from asynccache.runtime.sqlite_cache import SQLiteCache

if TYPE_CHECKING:
    import sqlite3

_FORMAT: Final = 1
_SCHEMA: Final = """
create table meta (name text primary key, value text) without rowid;
create table environments (
    arch text, req_id text, full_id text, version text, start integer, length integer,
    resolved_on text, resolved_by text, type text, packages integer, error text,
    primary key (arch, req_id, full_id)) without rowid;
create table names (
    section text, stored text, version text, req_id text, full_id text,
    primary key (section, stored)) without rowid;
"""


@dataclass(frozen=True, slots=True)
class Summary(Documented):
    """One environment in brief.

    Attributes:
        id: Its identity.
        version: What it was read from: changes when the document does.
        resolved_on: Local time without zone, ISO 8601; empty if unreadable.
        resolved_by: User name.
        type: `conda-only`, `pypi-only` or `mixed`.
        packages: How many.
        error: Why the document cannot be read; empty if it can.
        start: Where the document begins in its file, in bytes.
        length: Its length in bytes.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "id",
        "resolved_at as resolved_on",
        "resolved_by",
        "type as env_type",
        "packages",
        "error",
    )

    id: EnvID
    version: str = ""
    resolved_on: str = ""
    resolved_by: str = ""
    type: str = ""
    packages: int = 0
    error: str = ""
    start: int = 0
    length: int = 0

    @property
    def resolved_at(self) -> datetime | None:
        """When it was resolved; a time without a zone is taken to be in this machine's zone. None if unreadable."""
        try:
            return datetime.fromisoformat(self.resolved_on)
        except ValueError:
            return None

    @classmethod
    def of(cls, env_id: EnvID, document: object, version: str = "", start: int = 0, length: int = 0) -> Summary:
        """Extract from a document what a list shows; only its outermost level is examined."""
        try:
            fields: dict[str, Any] = {
                "resolved_on": str(document["resolved_on"]),  # type: ignore[index]  # tried
                "resolved_by": str(document["resolved_by"]),  # type: ignore[index]
                "type": str(document.get("env_type", "mixed")).replace("pip-only", "pypi-only"),  # type: ignore[attr-defined]
                "packages": len(document["packages"]),  # type: ignore[index]
            }
        except (KeyError, TypeError, AttributeError) as exc:
            fields = {"error": f"the document is malformed ({type(exc).__name__}: {exc})"}
        return cls(env_id, version, start=start, length=length, **fields)


@dataclass(frozen=True, slots=True)
class Name:
    """One name in an index.

    Attributes:
        section: Which kind: a section of the manifest, or `generic` for a store.
        stored: Its stored archive.
        ids: (req_id, full_id).
        version: What it was read from.
    """

    section: str
    stored: str
    ids: tuple[str, str]
    version: str = ""


class CatalogIndex:
    """The file.

    Args:
        path: Its path; created if missing.
    """

    def __init__(self, path: Path) -> None:
        self._cache = SQLiteCache(path, _FORMAT, _SCHEMA)

    def version(self) -> str:
        """Return what the whole index was made from; empty if there is none."""
        rows = self._cache.do(lambda c: c.execute("select value from meta where name = 'version'").fetchall())
        return str(rows[0][0]) if rows else ""

    def replace(self, version: str, environments: Iterable[Summary], names: Iterable[Name]) -> None:
        """Rebuild the index."""
        rows, others = list(environments), list(names)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("delete from environments")
            connection.execute("delete from names")
            _insert(connection, rows, others)
            connection.execute("insert or replace into meta values ('version', ?)", (version,))

        self._cache.do(write)

    def add(
        self,
        environments: Iterable[Summary] = (),
        names: Iterable[Name] = (),
        gone: Iterable[EnvID] = (),
        gone_names: Iterable[Name] = (),
    ) -> None:
        """Add and remove rows."""
        rows, others, removed, unnamed = list(environments), list(names), list(gone), list(gone_names)
        if not (rows or others or removed or unnamed):
            return

        def write(connection: sqlite3.Connection) -> None:
            where = "delete from environments where arch = ? and req_id = ? and full_id = ?"
            connection.executemany(where, [(i.arch, i.req_id, i.full_id) for i in removed])
            connection.executemany(
                "delete from names where section = ? and stored = ?", [(n.section, n.stored) for n in unnamed]
            )
            _insert(connection, rows, others)

        self._cache.do(write)

    def environment(self, env_id: EnvID) -> Summary | None:
        """Return one environment."""
        where = "where arch = ? and req_id = ? and full_id = ?"
        found = list(self._environments(where, (env_id.arch, env_id.req_id, env_id.full_id)))
        return found[0] if found else None

    def environments(self, arch: str | None = None) -> list[Summary]:
        """Return all environments, of one architecture or of all."""
        return list(self._environments("where arch = ?", (arch,)) if arch else self._environments("", ()))

    def name(self, section: str, stored: str) -> Name | None:
        """Return one name."""
        found = self._names("where section = ? and stored = ?", (section, stored))
        return found[0] if found else None

    def names(self) -> list[Name]:
        """Return all names."""
        return self._names("", ())

    def _environments(self, where: str, values: tuple[str | None, ...]) -> Iterator[Summary]:
        columns = "arch, req_id, full_id, version, resolved_on, resolved_by, type, packages, error, start, length"
        sql = f"select {columns} from environments {where}"  # noqa: S608 - the text comes from this module
        for arch, req_id, full_id, *rest in self._cache.do(lambda c: c.execute(sql, values).fetchall()):
            with suppress(UsageError):
                yield Summary(EnvID(req_id, full_id, arch), *rest)

    def _names(self, where: str, values: tuple[str, ...]) -> list[Name]:
        sql = f"select section, stored, req_id, full_id, version from names {where}"  # noqa: S608 - as above
        rows = self._cache.do(lambda c: c.execute(sql, values).fetchall())
        return [Name(section, stored, (req, full), version) for section, stored, req, full, version in rows]


def _insert(connection: sqlite3.Connection, environments: list[Summary], names: list[Name]) -> None:
    connection.executemany(
        "insert or replace into environments values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                s.id.arch, s.id.req_id, s.id.full_id, s.version, s.start, s.length,
                s.resolved_on, s.resolved_by, s.type, s.packages, s.error,
            )
            for s in environments
        ],
    )  # fmt: skip
    connection.executemany(
        "insert or replace into names values (?, ?, ?, ?, ?)",
        [(n.section, n.stored, n.version, *n.ids) for n in names],
    )
