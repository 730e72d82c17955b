"""Keys of a store from a list instead of a listing: an S3 Inventory, the output of `asynccache ls`, or plain lines.

A list may be in any order and larger than memory, so it is sorted in a temporary database. Entries that are not
archives are skipped; sizes are used for plans only. Entries are checked before anything is written, since a list may be
days old.
"""

from __future__ import annotations

import csv
import gzip
import io
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import unquote_plus

from asynccache.engine.fetch import Fetcher, PlainFile
from asynccache.engine.host import Host
from asynccache.engine.sources import Sources
from asynccache.errors import DiskError, FetchRefusedError, ObjectNotFoundError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.root import StoreRoot
from asynccache.model.url import PackageURL, redacted
from asynccache.node.json_text import read_json
from asynccache.node.store_kinds import kind_of
from asynccache.runtime.files import open_file
from asynccache.runtime.threads import Threads
from asynccache.store import layout
from asynccache.store.base import ObjectInfo
from asynccache.store.key_range import WHOLE, KeyRange
from asynccache.store.open import open_store
from asynccache.store.options import store_options
from asynccache.store.stored import StoredArchive

_BATCH: Final = 10_000  # rows
_WEB: Final = ("https://", "http://")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_INVENTORY: Final = ("Bucket", "Key", "Size")  # Amazon S3 user guide, "Amazon S3 Inventory list"
_EXPECTED: Final = (
    "a manifest.json of S3 Inventory, its CSV or Parquet, lines of `asynccache ls --keys`, or a key in each line"
)


@dataclass(frozen=True, slots=True)
class KeyList:
    """Archives of a store from a list, in the order of their keys' bytes.

    Attributes:
        path: The sorted list.
        dirname: Directory of the packages.
    """

    path: Path
    dirname: str

    async def archives(
        self, threads: Threads, keys: KeyRange = WHOLE, *, after: str = ""
    ) -> AsyncGenerator[StoredArchive]:
        """Yield the archives whose source directory is in a range.

        Args:
            threads: Threads to read it in.
            keys: The range.
            after: Only archives whose key comes after this one, in the order of bytes.
        """
        while True:
            rows = await threads.run(self._rows, after)
            for key, size in rows:
                archive = StoredArchive.listed(ObjectInfo(key, size), self.dirname)
                if archive is not None and keys.holds(f"{archive.parts.source_directory}/"):
                    yield archive
            if len(rows) < _BATCH:
                return
            after = rows[-1][0]

    def _rows(self, after: str) -> list[tuple[str, int]]:
        with closing(sqlite3.connect(self.path)) as database:
            found = database.execute("SELECT key, size FROM keys WHERE key > ? ORDER BY key LIMIT ?", (after, _BATCH))
            return found.fetchall()


@asynccontextmanager
async def key_list(host: Host, sources: Sources, place: str) -> AsyncIterator[KeyList]:
    """Read and sort a list; the sorted copy is removed when the block ends.

    Args:
        host: Settings, threads and budgets to work with.
        sources: The store, and upstream.
        place: A path, an https address, or the address of an object of a store.

    Raises:
        ObjectNotFoundError: There is no such list.
        UsageError: It is not such a list, or its address is neither https nor a store's.
        FetchError: It cannot be downloaded.
        StoreError: It cannot be read.
        DiskError: It cannot be read or sorted on this machine.
    """
    run = host.threads.run
    directory = host.settings.cache_dir / "work"
    await run(lambda: directory.mkdir(parents=True, exist_ok=True))
    with TemporaryDirectory(prefix="keys-", dir=directory) as work:
        path = Path(work) / "keys.sqlite"
        await run(_begin, path)
        async for file, columns in _files(host, sources.fetcher, place, Path(work)):
            try:
                await run(_enter, path, file, columns, sources.store.root, host.settings.packages_dirname)
            except OSError as exc:
                raise DiskError(
                    f"{redacted(place)} cannot be read ({exc.strerror or exc})", hint="name another list"
                ) from exc
            except (ValueError, KeyError, TypeError, EOFError, csv.Error) as exc:
                raise UsageError(f"{redacted(place)} is no list of keys", expected=_EXPECTED) from exc
        yield KeyList(path, host.settings.packages_dirname)


async def _files(host: Host, fetcher: Fetcher, place: str, work: Path) -> AsyncIterator[tuple[Path, tuple[str, ...]]]:
    """Yield files with keys, and their columns; for a manifest, the files that it names."""
    if not place.partition("?")[0].endswith("manifest.json"):
        yield await _local(host, fetcher, place, work), ()
        return
    try:
        async with open_file(await _local(host, fetcher, place, work)) as file:
            said = read_json(await file.read())
        columns = tuple(name.strip() for name in str(said["fileSchema"]).split(","))
        names, bucket = [str(each["key"]) for each in said["files"]], str(said["destinationBucket"])
    except (ValueError, KeyError, TypeError) as exc:
        raise UsageError(f"{redacted(place)} is no manifest of S3 Inventory", expected=_EXPECTED) from exc
    if said.get("fileFormat") == "Parquet":
        columns = ()
    for name in names:
        yield await _named(host, fetcher, place, bucket.rpartition(":")[2], name, work), columns


async def _named(host: Host, fetcher: Fetcher, manifest: str, bucket: str, name: str, work: Path) -> Path:
    """Return a file that a manifest names by its key.

    It is below the same root as the manifest, which Amazon writes as `CONFIG/DATE/manifest.json` for a file
    `CONFIG/data/FILE`; or, if it was copied elsewhere with it, beside it or in `data` beside it.
    """
    if (kind := kind_of(manifest)) is not None:
        return await _local(host, fetcher, f"{kind.schemes[0]}://{bucket}/{name}", work)
    if not manifest.startswith(_WEB):
        beside = Path(manifest.removeprefix("file://")).parent
        places = (beside / Path(name).name, beside / "data" / Path(name).name)
        return next((place for place in places if place.exists()), places[0])
    parent = manifest.partition("?")[0].rpartition("/")[0]
    configuration = name.rpartition("/data/")[0]
    root, found, _date = parent.rpartition(f"/{configuration}/")
    below = [f"{root}/{name}"] if configuration and found else []
    for place in (*below, f"{parent}/data/{Path(name).name}"):
        try:
            return await _local(host, fetcher, place, work)
        except FetchRefusedError:
            continue
    return await _local(host, fetcher, f"{parent}/{Path(name).name}", work)


async def _local(host: Host, fetcher: Fetcher, place: str, work: Path) -> Path:
    """Return a file with the content of an address."""
    if place.startswith(_WEB):
        url, access = PackageURL.parse(place)
        if url.scheme != "https" and url.host not in _LOOPBACK:
            expected = "https://, since nothing else says whether that is the list"
            raise UsageError(f"{url} is no place for a list of keys", expected=expected)
        path = work / Path(url.filename).name
        await fetcher.fetch(PlainFile(url, access), path)
        return path
    if kind_of(place) is None:
        path = Path(place.removeprefix("file://"))
        if not await host.threads.run(path.is_file):
            raise ObjectNotFoundError(f"{place} is no file", hint="check the path")
        return path
    parent, _, name = place.rpartition("/")
    root = host.settings.other_root(parent)
    path = work / name
    async with open_store(root, store_options(host.settings, host.clock), may_be_absent=False) as store:
        await store.download(name, path)
    return path


def _begin(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("CREATE TABLE keys (key TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID")
        database.commit()


def _enter(path: Path, file: Path, columns: tuple[str, ...], root: StoreRoot, dirname: str) -> None:
    """Add the archives that a file names."""
    prefix = f"{root.path}/" if root.remote and root.path else ""
    batch: list[tuple[str, int]] = []
    with closing(sqlite3.connect(path)) as database:
        for key, size in _keys_of(file, columns):
            below = key.removeprefix(prefix)
            if layout.parse_key(below, dirname) is not None:
                batch.append((below, max(size, 1)))
            if len(batch) == _BATCH:
                database.executemany("INSERT OR REPLACE INTO keys VALUES (?, ?)", batch)
                batch = []
        database.executemany("INSERT OR REPLACE INTO keys VALUES (?, ?)", batch)
        database.commit()


def _keys_of(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Yield (key, bytes) pairs of a file; an unknown size is 1."""
    if file.name.endswith(".parquet"):
        yield from _parquet(file)
        return
    with file.open("rb") as raw, io.BufferedReader(raw) as buffered:
        compressed = buffered.peek(2)[:2] == b"\x1f\x8b"
        stream = gzip.GzipFile(fileobj=buffered) if compressed else buffered
        lines = io.TextIOWrapper(stream, "utf-8", newline="")
        first = lines.readline()
        if columns or ".csv" in file.name:
            yield from _inventory(_with(first, lines), columns or _INVENTORY)
        elif first.startswith("{"):
            for line in _with(first, lines):
                said: dict[str, Any] = read_json(line)
                if "key" in said:
                    yield str(said["key"]), int(said.get("bytes") or 1)
        else:
            for line in _with(first, lines):
                if line.strip():
                    yield line.strip(), 1


def _with(first: str, lines: Iterator[str]) -> Iterator[str]:
    yield first
    yield from lines


def _inventory(lines: Iterator[str], columns: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Yield the entries of an inventory's CSV file, whose keys are URL-encoded."""
    key = columns.index("Key")
    size = columns.index("Size") if "Size" in columns else -1
    latest = columns.index("IsLatest") if "IsLatest" in columns else -1
    for row in csv.reader(lines):
        if row and (latest < 0 or row[latest].lower() == "true"):
            known = row[size] if 0 <= size < len(row) else ""
            yield unquote_plus(row[key]), int(known) if known.isdecimal() else 1


def _parquet(file: Path) -> Iterator[tuple[str, int]]:
    try:
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise UsageError(
            f"{file.name} is Parquet, which needs pyarrow", hint="`pip install pyarrow`, or have the inventory as CSV"
        ) from None
    opened = parquet.ParquetFile(file)
    names = [name for name in ("key", "size", "is_latest") if name in opened.schema_arrow.names]
    for batch in opened.iter_batches(columns=names):
        for row in batch.to_pylist():
            if row.get("is_latest", True):
                yield str(row["key"]), int(row.get("size") or 1)
