"""One of each store, empty, for the conformance suite."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asynccache.model.digest import Digests
from asynccache.model.root import StoreRoot
from asynccache.node.patience import Patience
from asynccache.store.base import Store
from asynccache.store.local import LocalStore
from asynccache.store.memory import MemoryStore
from asynccache.store.open import open_store
from asynccache.store.options import StoreOptions
from tests.support.azurite import AzureServer
from tests.support.google_storage import GoogleServer
from tests.support.object_servers import BUCKET, ObjectServer

PART = 5 << 20  # bytes; the smallest part that S3 takes


def options_for(**changes: object) -> StoreOptions:
    """Return options that fail fast."""
    patience = Patience(tries=5, outage=0.0)
    values = {"connect_timeout": 30.0, "read_timeout": 30.0, "part_bytes": PART, "patience": patience, **changes}
    return StoreOptions(**values)  # type: ignore[arg-type]


def use_credentials_of(server: ObjectServer | AzureServer | GoogleServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients find the server's credentials, and nothing of the user's."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in server.service().environment.items():
        monkeypatch.setenv(name, value)


def new_root(url: str) -> StoreRoot:
    """Return a root on a server that nobody has used."""
    return StoreRoot.parse(f"s3://{BUCKET}/{secrets.token_hex(6)}/envs", endpoint=url)


@pytest.fixture(params=["memory", "local", "weed", "moto", "azurite", "google"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Store]:
    opened: Store
    if request.param == "memory":
        opened = MemoryStore()
    elif request.param == "local":
        opened = LocalStore(tmp_path / "store")
    else:
        server: ObjectServer | AzureServer | GoogleServer = request.getfixturevalue(request.param)
        use_credentials_of(server, monkeypatch)
        service = server.service()
        root = StoreRoot.parse(service.root(f"{secrets.token_hex(6)}/envs"), endpoint=service.endpoint())
        opened = open_store(root, options_for())
    async with opened:
        yield opened


def digests_of(data: bytes) -> Digests:
    """Return what is to be known of these bytes."""
    return Digests(md5=hashlib.md5(data).hexdigest(), sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def written(path: Path, data: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(data)
    return path
