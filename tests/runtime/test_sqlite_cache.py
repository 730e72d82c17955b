"""A cache file never stands in the way: whatever is wrong with it, what is asked is answered."""

import resource
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from asynccache.runtime import sqlite_cache
from asynccache.runtime.sqlite_cache import SQLiteCache

SCHEMA = "create table words (word text primary key) without rowid"


def _cache(path: Path, format_number: int = 1, schema: str = SCHEMA) -> SQLiteCache:
    return SQLiteCache(path, format_number, schema)


def _add(cache: SQLiteCache, word: str) -> None:
    cache.do(lambda c: c.execute("insert or replace into words values (?)", (word,)))


def _words(cache: SQLiteCache) -> list[str]:
    return sorted(word for (word,) in cache.do(lambda c: c.execute("select word from words").fetchall()))


@contextmanager
def _disk_full() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_was_added_is_known_to_whoever_opens_the_file(tmp_path: Path) -> None:
    path = tmp_path / "not" / "yet" / "there.sqlite"
    _add(_cache(path), "a")
    _add(_cache(path), "b")
    assert _words(_cache(path)) == ["a", "b"]


@pytest.mark.parametrize("damage", [b"no database" * 500, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "c.sqlite"
    path.write_bytes(damage)
    cache = _cache(path)
    assert _words(cache) == []
    _add(cache, "a")
    assert _words(_cache(path)) == ["a"]


def test_a_file_of_another_format_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    _add(_cache(path), "a")
    other = _cache(path, 2, "create table words (word text, number integer)")
    assert _words(other) == []
    assert other.do(lambda c: c.execute("select number from words").fetchall()) == []


def test_a_directory_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = _cache(tmp_path / "file" / "c.sqlite")
    _add(cache, "a")
    assert _words(cache) == ["a"]
    assert _words(_cache(tmp_path / "file" / "c.sqlite")) == []


def test_what_a_file_knows_is_used_where_it_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    _add(_cache(path), "a")
    cache = _cache(path)
    with _disk_full():
        _add(cache, "b")
        assert _words(cache) == ["a", "b"]
    assert _words(_cache(path)) == ["a"]


def test_a_file_that_another_process_holds_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_cache, "_WAIT", 0.1)
    path = tmp_path / "c.sqlite"
    _add(_cache(path), "a")
    with closing(sqlite3.connect(path)) as holder:
        holder.execute("begin exclusive")
        cache = _cache(path)
        _add(cache, "b")
        assert _words(cache) == ["b"]


def test_threads_that_find_no_file_at_once_all_succeed(tmp_path: Path) -> None:
    cache = _cache(tmp_path / "c.sqlite")
    together = threading.Barrier(8)

    def add(number: int) -> None:
        together.wait()
        _add(cache, str(number))

    threads = [threading.Thread(target=add, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(_words(_cache(tmp_path / "c.sqlite"))) == 8
