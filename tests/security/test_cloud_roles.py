"""The roles of docs/security.md for Azure and Google allow the requests of the store's operations, and no more."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest

from asynccache.model.digest import digest_file
from asynccache.model.root import StoreRoot
from asynccache.store.base import Store
from asynccache.store.http_client import HTTPClient
from asynccache.store.open import open_store
from tests.store.conftest import PART, options_for, written
from tests.support.azurite import AzureServer
from tests.support.google_storage import GoogleServer

pytestmark = pytest.mark.xdist_group("object-servers")
PAGE: Final = (Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text("utf-8")
DOCUMENTS: Final = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
_BLOBS: Final = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/"
_OBJECTS: Final = "storage.objects."


def roles(name: str, rights: str, beginning: str) -> dict[str, set[str]]:
    """Return what each role of the page may do, without what all rights begin with."""
    found = {each[name].removeprefix("asynccache "): each[rights] for each in DOCUMENTS if rights in each}
    return {role: {right.removeprefix(beginning) for right in allowed} for role, allowed in found.items()}


ROLES: Final = {
    "azure": roles("Name", "DataActions", _BLOBS),
    "google": roles("title", "includedPermissions", _OBJECTS),
}


def azure_needs(method: str, url: str, headers: Mapping[str, str]) -> set[str]:
    """Microsoft's "Permissions for blob service operations"; a copy reads its source as well."""
    del url
    if method in {"GET", "HEAD"}:
        return {"read"}
    if method == "DELETE":
        return {"delete"}
    assert method == "PUT"
    return {"write", "read"} if "x-ms-copy-source" in headers else {"write"}


def google_needs(method: str, url: str, headers: Mapping[str, str]) -> set[str]:
    """Google's "IAM permissions for JSON methods"; to replace an object needs the right to delete it."""
    del headers
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    if "upload_id" in query:
        return set()  # the session knows who began it
    if method == "GET":
        return {"list"} if parts.path.endswith("/o") else {"get"}
    if method == "DELETE":
        return {"delete"}
    assert method == "POST"
    if "/rewriteTo/" in parts.path:
        return {"get", "create"}
    assert parts.path.startswith("/upload/")
    return {"create"} if query.get("ifGenerationMatch") == ["0"] else {"create", "delete"}


NEEDS: Final = {"azure": azure_needs, "google": google_needs}


@contextmanager
def recording(cloud: str, found: set[str]) -> Iterator[None]:
    """Take down what the requests of a store need."""
    prepared = HTTPClient._prepared

    async def noted(client: HTTPClient, method: str, url: str, said: Mapping[str, str]) -> Any:
        found.update(NEEDS[cloud](method, url, said))
        return await prepared(client, method, url, said)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HTTPClient, "_prepared", noted)
        yield


@pytest.fixture(params=["azure", "google"])
def cloud(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def opened(
    cloud: str, azurite: AzureServer, google: GoogleServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Store]:
    monkeypatch.setenv("AZURE_STORAGE_KEY", azurite.key)
    scheme, server = ("az", azurite.url) if cloud == "azure" else ("gs", google.url)
    root = StoreRoot.parse(f"{scheme}://{google.bucket}/{secrets.token_hex(6)}", endpoint=server)
    async with open_store(root, options_for()) as store:
        yield store


async def test_a_role_allows_the_requests_of_its_operations_and_no_other_needs_them(
    opened: Store, cloud: str, tmp_path: Path
) -> None:
    small, large = written(tmp_path / "small", b"small"), written(tmp_path / "large", os.urandom(PART + 1000))

    async def reading() -> None:
        assert await opened.head("there")
        await opened.get("there", start=1, length=2)
        await opened.download("large", tmp_path / "copy", size=PART + 1000)
        assert len([info async for info in opened.scan()]) == 4

    async def writing() -> None:
        await opened.put("there", b"content", if_absent=True)
        await opened.put("another", b"content", if_absent=True)
        await opened.upload("small", small, digest_file(str(small), "md5"))
        await opened.upload("large", large, digest_file(str(large), "md5"))

    async def replacing() -> None:
        there = await opened.head("there")
        assert there is not None
        await opened.put("there", b"changed", if_match=there.etag)

    async def cleaning() -> None:
        await opened.move("there", "quarantine")
        await opened.delete("another")

    needed: dict[str, set[str]] = {}
    for name, work in (("write", writing), ("read", reading), ("replace", replacing), ("clean", cleaning)):
        with recording(cloud, needed.setdefault(name, set())):
            await work()

    reader, writer, operator = (ROLES[cloud][role] for role in ("reader", "writer", "operator"))
    assert needed["read"] == reader
    assert needed["write"] - reader == writer - reader
    assert needed["clean"] - writer == operator - writer == {"delete"}
    assert needed["replace"] <= (writer if cloud == "azure" else operator)
    assert ("delete" in needed["replace"]) is (cloud == "google")
