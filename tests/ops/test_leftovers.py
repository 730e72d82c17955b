"""What dead processes left in a store is removed once it is old, and logged; what somebody works on stays."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.errors import PartialFailureError, StoreRefusedError
from asynccache.ops.leftovers import LEFT_AFTER, clean_store
from asynccache.store import journal
from asynccache.store.base import ObjectInfo, Store
from asynccache.store.local import LocalStore
from asynccache.store.memory import MemoryStore
from asynccache.store.s3 import S3Store
from tests.store.conftest import new_root, options_for, use_credentials_of
from tests.support.object_servers import BUCKET, ObjectServer

PROBES = ("asynccache/probe", "asynccache/doctor/12-34")
OTHERS = ("packages/a", "asynccache/receipts/a.json", "asynccache/alias-log/a/latest/00000001.json", "asynccache/q/b")


async def _filled(store: Store) -> None:
    for key in (*PROBES, *OTHERS):
        await store.put(key, b"x")


async def _keys(store: Store) -> set[str]:
    return {info.key async for info in store.scan() if not info.key.startswith(journal.PREFIX)}


@pytest.mark.parametrize("kind", ["memory", "local"])
async def test_probes_are_removed_once_they_are_old_and_nothing_else_is(kind: str, tmp_path: Path) -> None:
    async with MemoryStore() if kind == "memory" else LocalStore(tmp_path / "store") as store:
        await _filled(store)
        young = await clean_store(store)
        assert (young.removed, await _keys(store)) == ([], {*PROBES, *OTHERS})
        planned = await clean_store(store, older_than=0, dry_run=True)
        assert ({each.key for each in planned.removed}, await _keys(store)) == (set(PROBES), {*PROBES, *OTHERS})
        done = await clean_store(store, older_than=0, user="ann")
        assert ({each.key for each in done.removed}, await _keys(store)) == (set(PROBES), set(OTHERS))
        (deed,) = [deed async for deed in journal.entries(store)]
        assert (deed.what, set(deed.keys), deed.user) == ("delete", set(PROBES), "ann")


class _Refusing(MemoryStore):
    async def delete(self, key: str, *, unless_changed: ObjectInfo | None = None) -> bool:
        del unless_changed
        raise StoreRefusedError(f"access to {key} is denied")


async def test_what_the_store_refuses_to_delete_is_told() -> None:
    async with _Refusing() as store:
        await _filled(store)
        done = await clean_store(store, older_than=0)
    assert (done.removed, set(done.failed)) == ([], set(PROBES))
    with pytest.raises(PartialFailureError):
        done.raise_for_failures()


class _Aged(S3Store):
    """A store in which everything is two days older than it is."""

    async def list_page(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        found = await super().list_page(prefix, start_after=start_after, limit=limit)
        return [replace(info, modified=(info.modified or 0) - 2 * LEFT_AFTER) for info in found]


@pytest.mark.xdist_group("object-servers")
async def test_uploads_that_were_never_completed_are_ended_below_the_root_alone(
    weed: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_credentials_of(weed, monkeypatch)
    root = new_root(weed.url)
    client = weed.client()
    prefix = str(root).removeprefix(f"s3://{BUCKET}/")
    other = f"elsewhere-{time.time_ns()}/file"
    try:
        for key in (f"{prefix}/packages/one", f"{prefix}/packages/two", f"{prefix}x/packages/three", other):
            client.create_multipart_upload(Bucket=BUCKET, Key=key)
        async with _Aged(root, options_for()) as store:
            await store.put("asynccache/doctor/1-2", b"x")
            assert {u.key for u in await store.unfinished()} == {"packages/one", "packages/two"}
            assert [each.key for each in (await clean_store(store)).removed] == ["asynccache/doctor/1-2"]
            done = await clean_store(store, older_than=-60)
            assert sorted(each.key for each in done.removed) == ["packages/one", "packages/two"]
            assert await store.unfinished() == []
            assert [deed.what async for deed in journal.entries(store)] == ["delete", "abort"]
        left = {u["Key"] for u in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])}
        assert {f"{prefix}x/packages/three", other} <= left
    finally:
        client.close()
