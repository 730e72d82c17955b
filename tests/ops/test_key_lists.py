"""A backfill looks at the packages of a list, in whatever format somebody has one."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from asynccache.api import Session, Settings
from asynccache.engine.engine import Engine
from asynccache.errors import FetchRefusedError, ObjectNotFoundError, UsageError
from asynccache.ops import key_lists
from asynccache.ops.key_lists import key_list
from asynccache.store.key_range import LAST, KeyRange
from tests.support.certificates import make_certificate
from tests.support.command_line import ASYNCCACHE
from tests.support.fault_server import FaultServer
from tests.support.static_files import serve_files


def _key(name: str, digest: str = "0" * 32) -> str:
    return f"packages/conda/h/ch/noarch/{name}/{name}/{digest}/{name}"


KEYS = [_key(f"p{number}+x-1-0.tar.bz2") for number in range(5)]


def _lines(directory: Path) -> Path:
    (directory / "keys.txt").write_text("\n".join([*reversed(KEYS), "envs/a/b", ""]), "utf-8")
    return directory / "keys.txt"


def _json(directory: Path) -> Path:
    lines = [{"type": "item", "schema": 1, "key": key, "bytes": 7} for key in reversed(KEYS)]
    (directory / "keys.json").write_text("\n".join(map(json.dumps, [*lines, {"type": "result", "count": 5}])))
    return directory / "keys.json"


def _inventory(directory: Path) -> Path:
    """Write what S3 Inventory does: a manifest, and columns and key encoding as its schema says."""
    from urllib.parse import quote_plus

    (directory / "data").mkdir()
    with gzip.open(directory / "data" / "one.csv.gz", "wt", newline="") as file:
        rows = csv.writer(file, quoting=csv.QUOTE_ALL)
        for key in KEYS:
            rows.writerow(["bucket", quote_plus(key, safe="/"), "v1", "true", "7"])
            rows.writerow(["bucket", quote_plus(key.replace("p", "old", 1), safe="/"), "v0", "false", "7"])
    said = {
        "destinationBucket": "arn:aws:s3:::bucket", "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, VersionId, IsLatest, Size", "files": [{"key": "inventory/data/one.csv.gz"}],
    }  # fmt: skip
    (directory / "manifest.json").write_text(json.dumps(said))
    return directory / "manifest.json"


def _parquet(directory: Path) -> Path:
    """Write the same in Parquet, where old versions of an object are in other rows."""
    import pyarrow as pa  # slow to load
    from pyarrow import parquet

    keys = [*KEYS, _key("gone-1-0.conda")]
    (directory / "data").mkdir()
    latest = [True] * 5 + [False]
    table = pa.table({"bucket": ["b"] * 6, "key": keys, "is_latest": latest, "size": [7] * 6})
    parquet.write_table(table, directory / "data" / "one.parquet")
    said = {
        "destinationBucket": "arn:aws:s3:::bucket", "fileFormat": "Parquet", "fileSchema": "message s3.inventory { }",
        "files": [{"key": "inventory/data/one.parquet"}],
    }  # fmt: skip
    (directory / "manifest.json").write_text(json.dumps(said))
    return directory / "manifest.json"


@pytest.mark.parametrize("write", [_lines, _json, _inventory, _parquet], ids=lambda f: f.__name__)
async def test_a_list_in_any_order_gives_its_archives_in_order_and_by_range(
    configured: Settings, tmp_path: Path, write: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_lists, "_BATCH", 2)
    path = write(tmp_path)
    async with Engine(configured) as engine:
        async with key_list(engine.host, engine.sources, str(path)) as listed:
            assert [each.key async for each in listed.archives(engine.host.threads)] == KEYS
            middle = KeyRange(f"{KEYS[1].rsplit('/', 3)[0]}/{LAST}", f"{KEYS[3].rsplit('/', 3)[0]}/{LAST}")
            assert [each.key async for each in listed.archives(engine.host.threads, middle)] == KEYS[2:4]
            assert [each.key async for each in listed.archives(engine.host.threads, after=KEYS[3])] == KEYS[4:]
        assert list((configured.cache_dir / "work").glob("keys-*")) == []


@pytest.mark.parametrize("write", [_lines, _json, _inventory, _parquet], ids=lambda f: f.__name__)
async def test_a_list_is_taken_from_a_server_with_the_files_that_it_names(
    configured: Settings, tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    for below in ("", "inventory/2026-01-01T00-00Z"):  # beside each other, and as Amazon writes them
        top = tmp_path / f"server-{bool(below)}"
        directory = top / below
        directory.mkdir(parents=True)
        path = write(directory)
        if below and (directory / "data").exists():
            (directory / "data").rename(directory.parent / "data")
        with serve_files(top) as host:
            async with Engine(configured) as engine:
                place = f"http://{host}/{path.relative_to(top)}?X-Amz-Signature=s3cr3t"
                async with key_list(engine.host, engine.sources, place) as listed:
                    assert [each.key async for each in listed.archives(engine.host.threads)] == KEYS
                with pytest.raises(FetchRefusedError):
                    async with key_list(engine.host, engine.sources, f"http://{host}/nothing/keys.txt"):
                        pass


async def test_a_list_from_elsewhere_comes_by_https_alone(configured: Settings, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    lines = _lines(tmp_path).name
    (tmp_path / "store").mkdir()
    with serve_files(tmp_path, context=certificate.context) as host:
        # a process of its own: the library reads SSL_CERT_FILE when it is loaded
        words = ["backfill", "--to", ".conda", "--dry-run", "--store", configured.store or ""]
        environment = {**os.environ, **certificate.trusted, "ASYNCCACHE_CACHE_DIR": str(configured.cache_dir)}
        command = [ASYNCCACHE, *words, "--keys", f"https://{host}/{lines}"]
        done = await asyncio.to_thread(
            subprocess.run, command, env=environment, capture_output=True, text=True, timeout=50, check=False
        )
    assert (done.returncode, "5 packages" in done.stdout) == (0, True), done.stderr
    async with Engine(configured) as engine:
        with pytest.raises(UsageError, match="is no place for a list of keys: expected https://") as caught:
            async with key_list(engine.host, engine.sources, "http://lists.example.org/keys.txt?sig=s3cr3t"):
                pass
        assert "s3cr3t" not in str(caught.value)


async def test_what_is_no_list_is_refused(configured: Settings, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a,b\n")[:-3])
    (tmp_path / "b.json").write_text('{"key": "a"}\n{')
    async with Engine(configured) as engine:
        for name, error, said in (
            ("nowhere", ObjectNotFoundError, "is no file"),
            ("manifest.json", UsageError, "no manifest of S3 Inventory"),
            ("a.csv.gz", UsageError, "is no list of keys"),
            ("b.json", UsageError, "is no list of keys"),
        ):
            with pytest.raises(error, match=said):
                async with key_list(engine.host, engine.sources, str(tmp_path / name)):
                    pass


async def test_a_backfill_of_a_list_does_what_it_names_and_nothing_else(
    filled: FaultServer, configured: Settings, tmp_path: Path
) -> None:
    async with Session(configured) as session:
        keys = [item.key async for item in session.list_packages("*.tar.bz2")]
        (tmp_path / "keys.txt").write_text("\n".join(keys[:2]))
        done = await session.backfill(".conda", keys=tmp_path / "keys.txt", run_id="r", report=True)
        assert done.run is not None
        assert (done.plan.todo, done.run.counts.made, done.run.counts.looked_at, done.run.complete) == (2, 2, 2, True)
        assert (await session.stat()).both_forms == 2
