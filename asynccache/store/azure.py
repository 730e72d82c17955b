"""AzureStore: objects in a container of Azure Blob Storage, or of a server that speaks its protocol."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote, unquote, urlencode
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import aiohttp

from asynccache.errors import AsyncCacheError, ConfigurationError, StoreError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests
from asynccache.model.root import StoreRoot
from asynccache.node.azure_account import azure_account, default_endpoint
from asynccache.store.base import ALWAYS, BytesMoved, Condition, ObjectInfo
from asynccache.store.http_client import (
    Answer,
    Continuations,
    HTTPClient,
    HTTPFailedError,
    Service,
    answer_of,
    md5_of,
)
from asynccache.store.options import StoreOptions
from asynccache.store.remote import Described, RemoteStore
from asynccache.store.requests import CallFailedError
from asynccache.store.transfer import Reading, Transfer, Wanted

T = TypeVar("T")
_WRITER: Final = "x-ms-meta-asynccachewriter"  # Azure's metadata names have no dashes
_MOST_BLOCKS: Final = 50_000  # REST reference, "Put Block List"
_COPY_SECONDS: Final = 600.0  # to wait for a copy that the service makes asynchronously
_COPY_PAUSE: Final = 0.5  # seconds
_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9]+)</Code>")


def _code_of(headers: Mapping[str, str], body: bytes) -> str:
    found = headers.get("x-ms-error-code", "")
    if found.isalnum():
        return found
    match = _CODE.search(body)
    return match[1].decode("ascii") if match else ""


AZURE: Final = Service(
    name="Azure Blob Storage",
    code_of=_code_of,
    lost=frozenset({"BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet", "SourceConditionNotMet"}),
    nowhere=frozenset({"ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"}),
    damaged=frozenset({"Md5Mismatch", "Crc64Mismatch"}),
    container="container",
    permissions="the role Storage Blob Data Reader to read and Storage Blob Data Contributor to write",
    check="azure_endpoint",
    unknown=frozenset({"AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"}),
    repeated="x-ms-client-request-id",  # REST reference, "Put Blob", response headers
)


class AzureClient(HTTPClient):
    """Makes requests to one container.

    Args:
        root: A root of the kind `azure`.
        options: How to reach it.

    Raises:
        ConfigurationError: No account, or no credentials, are configured.
    """

    def __init__(self, root: StoreRoot, options: StoreOptions) -> None:
        endpoint = root.endpoint or default_endpoint()
        if not endpoint:
            raise ConfigurationError(
                f"nothing says which account of Azure holds {root}",
                hint="set azure_endpoint, METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT or AZURE_STORAGE_ACCOUNT",
            )
        account = azure_account(endpoint, provider=options.provider(root.kind))
        self.authorization = account.authorization
        super().__init__(AZURE, account, root.container, options)

    def path(self, key: str, **query: object) -> str:
        """Return the path of a blob, or of the container."""
        found = f"/{quote(self.container)}" + (f"/{quote(key)}" if key else "")
        return found + (f"?{urlencode(query, quote_via=quote)}" if query else "")

    async def read(
        self, key: str, wanted: Callable[[], Wanted], receive: Callable[[Reading], Awaitable[T]], body_bytes: int
    ) -> T:
        """See `Reader.read`."""

        def headers() -> dict[str, str]:
            now, said = wanted(), {}
            if now.etag is not None:
                said["If-Match"] = now.etag
            if (header := now.header()) is not None:
                said["Range"] = header
            return said

        async def taken(response: aiohttp.ClientResponse) -> T:
            with answer_of(AZURE):
                length, etag = int(response.headers["Content-Length"]), response.headers["ETag"]
            return await receive(Reading(response.content, length, response.headers.get("Content-Range"), etag))

        return await self.stream("GET", self.path(key), taken, headers=headers, body_bytes=body_bytes)


class AzureStore(RemoteStore):
    """Objects below `az://container/prefix`.

    Args:
        root: A root of the kind `azure`.
        options: How to reach it.

    Raises:
        ConfigurationError: No account, or no credentials, are configured.
    """

    lists_from_anywhere = False

    def __init__(self, root: StoreRoot, options: StoreOptions | None = None) -> None:
        options = options or StoreOptions()
        self.client = AzureClient(root, options)
        super().__init__(root, options, self.client)
        self._ended = Continuations()

    @property
    def asked_with(self) -> str:
        """See `Store.asked_with`."""
        return self.client.authorization.kind

    def another(self) -> AzureStore:
        """See `Store.another`."""
        return AzureStore(self._root, self._options)

    async def _describe(self, key: str) -> Described | None:
        try:
            answer = await self.client.call("HEAD", self.client.path(self._prefix + key))
        except HTTPFailedError as exc:
            if exc.absent:
                return None
            raise
        said = answer.headers
        with answer_of(AZURE):
            info = ObjectInfo(key, int(said["Content-Length"]), said["ETag"], _seconds(said["Last-Modified"]))
        return Described(info, said.get(_WRITER))

    async def _send(self, key: str, data: bytes, digests: Digests, condition: Condition, writer: str) -> str:
        md5 = bytes.fromhex(digests.md5) if digests.md5 else await self._threads.run(md5_of, data)
        headers = {"x-ms-blob-type": "BlockBlob", "Content-MD5": _base64(md5), _WRITER: writer, **_stated(condition)}
        answer = await self.client.call("PUT", self.client.path(self._prefix + key), headers=headers, data=data)
        return _etag(answer)

    async def _send_file(
        self, key: str, path: Path, size: int, digests: Digests, condition: Condition, writer: str,
        moved: BytesMoved | None,
    ) -> str:  # fmt: skip
        upload = self._transfer(BlockUpload, key, path, moved, self.client)
        return await upload.run(size, digests, writer, _stated(condition))

    async def _page(self, prefix: str, after: str, limit: int) -> tuple[list[ObjectInfo], bool]:
        """List after a key: the service continues only from its own markers, so the last ones are remembered; from any
        other key, earlier entries are read and skipped.
        """
        marker, wanted = self._ended.taken(prefix, after), limit
        while True:
            query = {"restype": "container", "comp": "list", "prefix": prefix, "maxresults": limit}
            answer = await self.client.call(
                "GET", self.client.path("", **query, **({"marker": marker} if marker else {}))
            )
            found, marker = await self._threads.run(_listed, answer.data, self._prefix)
            found = [info for info in found if self._prefix + info.key > after]
            if found or not marker:
                break
            limit = 5000  # REST reference, "List Blobs": the most that one answer holds
        if len(found) > wanted:
            return found[:wanted], True
        if found and marker:
            self._ended.remember(prefix, self._prefix + found[-1].key, marker)
        return found, bool(marker)

    async def _remove(self, key: str, etag: str | None = None) -> None:
        headers = _stated(Condition(if_match=etag))
        await self.client.call("DELETE", self.client.path(self._prefix + key), headers=headers)

    async def _copy(self, key: str, new_key: str) -> None:
        client, target = self.client, self._prefix + new_key
        source = client.authorization.readable(client.address + client.path(self._prefix + key))
        answer = await client.call("PUT", client.path(target), headers={"x-ms-copy-source": source})
        status, copy = answer.headers.get("x-ms-copy-status"), answer.headers.get("x-ms-copy-id")
        clock = self._options.clock
        ends = clock.now() + _COPY_SECONDS
        while status == "pending" and clock.now() < ends:
            await clock.sleep(_COPY_PAUSE)
            said = (await client.call("HEAD", client.path(target))).headers
            status = said.get("x-ms-copy-status") if said.get("x-ms-copy-id") == copy else "replaced"
        if status != "success":
            found = f"status {status}" if status and status.isalpha() else None
            raise StoreError(f"{key} in {self._address} could not be copied to {new_key}", found=found)

    def _error(self, failure: CallFailedError, key: str, condition: Condition = ALWAYS) -> AsyncCacheError:
        return self.client.error(failure, self._address, key, condition)


@dataclass(slots=True, kw_only=True)
class BlockUpload(Transfer[AzureClient]):
    """Sends one file in blocks; nothing is visible before they are committed, and uncommitted blocks expire."""

    async def run(self, size: int, digests: Digests, writer: str, condition: Mapping[str, str]) -> str:
        """Send it; return the object's etag.

        Args:
            size: Size of the file, in bytes.
            digests: Digests of the file; compared with what was sent before the object becomes visible.
            writer: Kept in the object's metadata, and part of the blocks' names: writers do not mix.
            condition: Condition under which the object may become visible, as headers.

        Raises:
            CallFailedError: A request failed; nothing became visible unless only the last answer was lost.
            IntegrityError: The file is not what its digests say.
        """
        length = max(self.part_bytes, -(-size // (_MOST_BLOCKS << 20)) << 20)

        def name(number: int) -> str:
            return _base64(f"{writer}-{number:06d}".encode())

        async def send(number: int, data: bytes) -> None:
            md5 = await self.threads.run(md5_of, data)
            path = self.client.path(self.key, comp="block", blockid=name(number))
            await self.client.call("PUT", path, headers={"Content-MD5": _base64(md5)}, data=data)

        await self.send_parts(size, length, digests, send)
        blocks = "".join(f"<Latest>{escape(name(number))}</Latest>" for number in range(-(-size // length)))
        text = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{blocks}</BlockList>'.encode()
        headers = {_WRITER: writer, **condition}
        if digests.md5:
            headers["x-ms-blob-content-md5"] = _base64(bytes.fromhex(digests.md5))
        return _etag(
            await self.client.call("PUT", self.client.path(self.key, comp="blocklist"), headers=headers, data=text)
        )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _stated(condition: Condition) -> dict[str, str]:
    if condition.if_match is not None:
        return {"If-Match": condition.if_match}
    return {"If-None-Match": "*"} if condition.if_absent else {}


def _etag(answer: Answer) -> str:
    with answer_of(AZURE):
        return answer.headers["ETag"]


def _seconds(date: str) -> float:
    return parsedate_to_datetime(date).timestamp()


def _listed(text: bytes, prefix: str) -> tuple[list[ObjectInfo], str]:
    """Read an answer to "List Blobs": the objects, and the marker of what follows, empty at the end."""
    found = []
    with answer_of(AZURE):
        document = ET.fromstring(text)  # noqa: S314 - expat bounds what entities grow to
        if document.tag != "EnumerationResults":
            raise ValueError(document.tag)
        for blob in document.iter("Blob"):
            name = blob.find("Name")
            about = {each.tag: each.text or "" for each in blob.iterfind("Properties/*")}
            if name is None or about.get("ResourceType") == "directory":
                continue
            key = unquote(name.text or "") if name.get("Encoded") == "true" else name.text or ""
            etag = about["Etag"]
            if not etag.startswith('"'):  # in listings it lacks the quotes that headers have
                etag = f'"{etag}"'
            size, modified = int(about["Content-Length"]), _seconds(about["Last-Modified"])
            found.append(ObjectInfo(key.removeprefix(prefix), size, etag, modified))
    return found, document.findtext("NextMarker") or ""
