"""The stores behind a network: how each is started behind a proxy that breaks requests, and how its service speaks."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import pytest
from aiohttp import web

from asynccache.model.root import StoreRoot
from asynccache.runtime.clock import VirtualClock
from asynccache.store.azure import AzureStore
from asynccache.store.google import GoogleStore
from asynccache.store.s3 import S3Store
from tests.store.conftest import PART, options_for, use_credentials_of
from tests.store.fault_proxy import Fault, FaultProxy, Refuse, Script, in_xml
from tests.support.azurite import AzureServer
from tests.support.google_storage import GoogleServer
from tests.support.object_servers import BUCKET, ObjectServer
from tests.support.services import Service

AnyStore = S3Store | AzureStore | GoogleStore
Step = Callable[[web.BaseRequest], bool]
_BYTES: Final = random.Random(2).randbytes(5 * PART + 1000)


def nothing(_request: web.BaseRequest) -> Fault | None:
    """Break no request."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A kind of store, and a server that it asks.

    Attributes:
        kind: Its class.
        service: The server.
        part: Bytes of the smallest part.
        worded: Returns the body of a refusal, as the service has it.
        busy: That it is asked too often.
        denied: That who asks may not.
        steps: What an upload in parts asks, by name.
        left: Returns what the server holds of uploads below a prefix that did not end.
    """

    kind: type[AnyStore]
    service: Service
    part: int = 256 << 10
    worded: Callable[[str], str] = in_xml
    busy: Refuse
    denied: Refuse
    steps: Mapping[str, Step]
    left: Callable[[str], list[str]] = lambda _prefix: []

    def data(self, parts: int, more: int = 1000) -> bytes:
        """Return the bytes of a file that has so many whole parts and a few bytes more."""
        return _BYTES[: parts * self.part + more]

    @asynccontextmanager
    async def opened(self, script: Script = nothing, **options: object) -> AsyncIterator[tuple[AnyStore, FaultProxy]]:
        """Open a new store that has answered, on a clock that waits for nothing; the script breaks its requests."""
        address, proxy = self.service.root(secrets.token_hex(6)), FaultProxy(self.service.server, worded=self.worded)
        given = {"clock": VirtualClock(), "part_bytes": self.part, **options}
        async with proxy:
            root = StoreRoot.parse(address, endpoint=self.service.endpoint(proxy.url))
            async with self.kind(root, options_for(**given)) as store:
                await store.capabilities()
                await store.head("nothing")
                proxy.seen.clear()
                proxy.script = script
                yield store, proxy

    def beside(self, store: AnyStore) -> AnyStore:
        """Return the same store for somebody else, who asks the server without the proxy."""
        return self.kind(StoreRoot.parse(store.address, endpoint=self.service.endpoint()), options_for())

    def unfinished(self, store: AnyStore) -> list[str]:
        """Return what the server holds of the store's uploads that did not end."""
        return self.left(store.address.removeprefix(self.service.root("")))


def on_s3(weed: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Remote:
    """Return S3 on SeaweedFS."""
    use_credentials_of(weed, monkeypatch)

    def left(prefix: str) -> list[str]:
        client = weed.client()
        try:
            uploads = client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        finally:
            client.close()
        return [each["Key"] for each in uploads if each["Key"].startswith(prefix)]

    return Remote(
        kind=S3Store,
        service=weed.service(),
        part=PART,
        busy=Refuse(503, "SlowDown"),
        denied=Refuse(403, "AccessDenied"),
        steps={
            "begin": lambda request: request.method == "POST" and "uploads" in request.query,
            "part": lambda request: "partNumber" in request.query,
            "end": lambda request: request.method == "POST" and "uploadId" in request.query,
        },
        left=left,
    )


def on_azure(azurite: AzureServer, monkeypatch: pytest.MonkeyPatch) -> Remote:
    """Return Azure on Azurite, where blocks that are never put together are no object and vanish."""
    use_credentials_of(azurite, monkeypatch)
    return Remote(
        kind=AzureStore,
        service=azurite.service(),
        busy=Refuse(503, "ServerBusy"),
        denied=Refuse(403, "AuthorizationPermissionMismatch"),
        steps={
            "part": lambda request: request.query.get("comp") == "block",
            "end": lambda request: request.query.get("comp") == "blocklist",
        },
    )


def on_google(google: GoogleServer) -> Remote:
    """Return Google on fake-gcs-server."""

    def said(request: web.BaseRequest) -> str:
        return request.headers.get("Content-Range", "") if request.method == "PUT" else ""

    def is_last(request: web.BaseRequest) -> bool:
        sent, _, size = said(request).partition("/")
        return sent.endswith(f"-{int(size) - 1}") if size else False

    return Remote(
        kind=GoogleStore,
        service=google.service(),
        worded=lambda code: json.dumps({"error": {"errors": [{"reason": code, "message": "AKIDSECRET"}]}}),
        busy=Refuse(503, "backendError"),
        denied=Refuse(403, "forbidden"),
        steps={
            "begin": lambda request: request.method == "POST" and request.query.get("uploadType") == "resumable",
            "part": lambda request: said(request)[:7] not in {"", "bytes *"} and not is_last(request),
            "end": is_last,
        },
        left=google.unfinished,
    )
