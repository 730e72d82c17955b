"""One of each store, empty, for the conformance suite."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asynccache.model.digest import Digests
from asynccache.store.base import Store
from asynccache.store.local import LocalStore
from asynccache.store.memory import MemoryStore


@pytest.fixture(params=["memory", "local"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else LocalStore(tmp_path / "store")
    async with opened:
        yield opened


def digests_of(data: bytes) -> Digests:
    return Digests(md5=hashlib.md5(data).hexdigest(), sha256=hashlib.sha256(data).hexdigest(), size=len(data))
