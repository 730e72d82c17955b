"""GoogleStore: objects in a bucket of Google Cloud Storage, by its JSON interface."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import aiohttp

from asynccache.errors import AsyncCacheError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests, digest_file
from asynccache.model.root import StoreRoot
from asynccache.node.google_account import GoogleAccount
from asynccache.node.json_text import read_json
from asynccache.runtime.tasks import to_the_end
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
from asynccache.store.transfer import WRITER, Reading, Transfer, Wanted

T = TypeVar("T")
_CHUNK: Final = 256 << 10  # bytes; parts of a resumable upload are multiples of it (documentation, "Resumable uploads")
_FIELDS: Final = "name,size,generation,updated,metadata"
_FAILURES: Final = 8  # tries of one part without another byte arriving
_ABORT_SECONDS: Final = 10.0
_MORE: Final = frozenset({308})  # the service wants the next part


def _code_of(_headers: Mapping[str, str], body: bytes) -> str:
    try:
        found = read_json(body)["error"]["errors"][0]["reason"]
    except (ValueError, KeyError, IndexError, TypeError):
        return ""
    return found if isinstance(found, str) and found.isalnum() else ""


GOOGLE: Final = Service(
    name="Google Cloud Storage",
    code_of=_code_of,
    lost=frozenset({"conditionNotMet"}),
    nowhere=frozenset(),
    damaged=frozenset({"md5Mismatch", "invalidMd5", "wrongMd5"}),
    container="bucket",
    permissions="the role Storage Object Viewer to read and Storage Object User to write",
    check="google_endpoint",
    unknown=frozenset(),
)


class GoogleClient(HTTPClient):
    """Makes requests to one bucket.

    Args:
        root: A root of the kind `gs`.
        options: How to reach it.
    """

    def __init__(self, root: StoreRoot, options: StoreOptions) -> None:
        self.account = GoogleAccount(root.endpoint, provider=options.provider(root.kind))
        super().__init__(GOOGLE, self.account, root.container, options)

    def path(self, key: str, query: Mapping[str, object], *, kind: str = "", tail: str = "") -> str:
        """Return the path of an object, or of the bucket's objects.

        Args:
            key: Key of the object; empty for all.
            query: Query parameters.
            kind: `upload` or `download` for bytes.
            tail: What follows the object in the path.
        """
        found = f"{'/' + kind if kind else ''}/storage/v1/b/{quote(self.container, safe='')}/o"
        found += (f"/{quote(key, safe='')}" if key else "") + tail
        return found + (f"?{urlencode(query, quote_via=quote)}" if query else "")

    async def read(
        self, key: str, wanted: Callable[[], Wanted], receive: Callable[[Reading], Awaitable[T]], body_bytes: int
    ) -> T:
        """See `Reader.read`."""

        async def once(response: aiohttp.ClientResponse) -> T:
            said = response.headers
            with answer_of(GOOGLE):
                length, generation = int(said["Content-Length"]), said["X-Goog-Generation"]
            return await receive(Reading(response.content, length, said.get("Content-Range"), generation))

        def path() -> str:
            etag = wanted().etag
            return self.path(key, {"alt": "media", **({"ifGenerationMatch": etag} if etag else {})}, kind="download")

        def headers() -> dict[str, str]:
            header = wanted().header()
            return {} if header is None else {"Range": header}

        return await self.stream("GET", path, once, headers=headers, body_bytes=body_bytes)


class GoogleStore(RemoteStore):
    """Objects below `gs://bucket/prefix`.

    Args:
        root: A root of the kind `gs`.
        options: How to reach it.
    """

    _no_version = "1"

    def __init__(self, root: StoreRoot, options: StoreOptions | None = None) -> None:
        options = options or StoreOptions()
        self.client = GoogleClient(root, options)
        super().__init__(root, options, self.client, _CHUNK)
        self._ended = Continuations()

    @property
    def asked_with(self) -> str:
        """See `Store.asked_with`."""
        return self.client.account.kind

    def another(self) -> GoogleStore:
        """See `Store.another`."""
        return GoogleStore(self._root, self._options)

    async def _describe(self, key: str) -> Described | None:
        try:
            answer = await self.client.call("GET", self.client.path(self._prefix + key, {"fields": _FIELDS}))
        except HTTPFailedError as exc:
            if exc.absent:
                return None
            raise
        with answer_of(GOOGLE):
            said = _object(answer, self._prefix + key)
            return Described(_info(said, self._prefix), (said.get("metadata") or {}).get(WRITER))

    async def _send(self, key: str, data: bytes, digests: Digests, condition: Condition, writer: str) -> str:
        md5 = bytes.fromhex(digests.md5) if digests.md5 else await self._threads.run(md5_of, data)
        about = json.dumps(self._about(key, writer, md5)).encode()
        border = secrets.token_hex(16).encode()
        body = b"".join(
            (
                b"--", border, b"\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n", about, b"\r\n--", border,
                b"\r\nContent-Type: application/octet-stream\r\n\r\n", data, b"\r\n--", border, b"--\r\n",
            )
        )  # fmt: skip
        query = {"uploadType": "multipart", "fields": _FIELDS, **_stated(condition)}
        path = self.client.path("", query, kind="upload")
        headers = {"Content-Type": f"multipart/related; boundary={border.decode()}"}
        with self._about_the_bucket():
            answer = await self.client.call("POST", path, headers=headers, data=body)
        return _generation(answer, self._prefix + key)

    @contextmanager
    def _about_the_bucket(self) -> Iterator[None]:
        """Interpret a 404 to an upload by its request: the object need not exist."""
        try:
            yield
        except HTTPFailedError as exc:
            if not exc.absent:
                raise
            raise self._error(exc, "") from exc.cause

    def _about(self, key: str, writer: str, md5: bytes) -> dict[str, Any]:
        digest = base64.b64encode(md5).decode("ascii")
        return {"name": self._prefix + key, "md5Hash": digest, "metadata": {WRITER: writer}}

    async def _send_file(
        self, key: str, path: Path, size: int, digests: Digests, condition: Condition, writer: str,
        moved: BytesMoved | None,
    ) -> str:  # fmt: skip
        md5 = digests.md5 or (await self._threads.run(digest_file, str(path), "md5")).md5 or ""
        upload = self._transfer(ResumableUpload, key, path, moved, self.client)
        with self._about_the_bucket():
            return await upload.run(size, digests, self._about(key, writer, bytes.fromhex(md5)), _stated(condition))

    async def _page(self, prefix: str, after: str, limit: int) -> tuple[list[ObjectInfo], bool]:
        """List after a key: with the token of the listing that ended there, otherwise from the key on."""
        token = self._ended.taken(prefix, after)
        query: dict[str, object] = {"prefix": prefix, "fields": f"kind,nextPageToken,items({_FIELDS})"}
        query |= {"maxResults": limit, "pageToken": token} if token else {"maxResults": limit + 1, "startOffset": after}
        answer = await self.client.call("GET", self.client.path("", query))
        with answer_of(GOOGLE):
            said = _document(answer)
            if said["kind"] != "storage#objects":
                raise ValueError(said["kind"])
            found = [_info(item, self._prefix) for item in said.get("items") or ()]
        if not token:
            found = [info for info in found if self._prefix + info.key > after]
        token = str(said.get("nextPageToken") or "")
        if len(found) > limit:
            return found[:limit], True
        if found and token:
            self._ended.remember(prefix, self._prefix + found[-1].key, token)
        return found, bool(token)

    async def _remove(self, key: str, etag: str | None = None) -> None:
        await self.client.call("DELETE", self.client.path(self._prefix + key, _stated(Condition(if_match=etag))))

    async def _copy(self, key: str, new_key: str) -> None:
        target = self.client.path(self._prefix + new_key, {}).partition("/storage/v1")[2]
        token = ""
        while True:  # large objects are rewritten in several steps
            query = {"rewriteToken": token} if token else {}
            path = self.client.path(self._prefix + key, query, tail=f"/rewriteTo{target}")
            answer = await self.client.call("POST", path)
            with answer_of(GOOGLE):
                said = _document(answer)
                if said["done"]:
                    return
                token = str(said["rewriteToken"])

    def _error(self, failure: CallFailedError, key: str, condition: Condition = ALWAYS) -> AsyncCacheError:
        return self.client.error(failure, self._address, key, condition)


@dataclass(slots=True, kw_only=True)
class ResumableUpload(Transfer[GoogleClient]):
    """Sends one file part by part; nothing is visible before the last one, whose digest the service compares."""

    _session: str = field(default="", init=False)  # its session's address

    async def run(self, size: int, digests: Digests, about: Mapping[str, Any], condition: Mapping[str, object]) -> str:
        """Send it; return the object's generation.

        Args:
            size: Size of the file, in bytes.
            digests: Digests of the file; compared with what was read before the last part is sent.
            about: The object's metadata, its digest included.
            condition: Condition under which the object may become visible, as parameters.

        Raises:
            CallFailedError: A request failed; nothing became visible unless only the last answer was lost.
            IntegrityError: The file is not what its digests say.
        """
        length = -(-max(self.part_bytes, _CHUNK) // _CHUNK) * _CHUNK
        last = -(-size // length) - 1
        held: list[bytes] = []

        async def send(number: int, data: bytes) -> None:
            if number == last:
                held.append(data)  # the file is digested as a whole first
            else:
                await self._part(data, number * length, size)

        at_once, self.at_once = self.at_once, 1  # a session takes its parts in order
        try:
            await to_the_end(self._begin(size, about, condition), _ABORT_SECONDS)
            await self.send_parts(size, length, digests, send)
            answer = await self._part(held[0], last * length, size)
        except BaseException:
            if self._session:
                await to_the_end(self._abort(), _ABORT_SECONDS)
            raise
        finally:
            self.at_once = at_once
        return _generation(answer, str(about["name"]))

    async def _begin(self, size: int, about: Mapping[str, Any], condition: Mapping[str, object]) -> None:
        path = self.client.path("", {"uploadType": "resumable", **condition}, kind="upload")
        headers = {"Content-Type": "application/json", "X-Upload-Content-Length": str(size)}
        answer = await self.client.call("POST", path, headers=headers, data=json.dumps(about).encode())
        with answer_of(GOOGLE):
            self._session = _session(answer.headers["Location"], self.client.address)

    async def _part(self, data: bytes, start: int, size: int) -> Answer:
        """Send one part; after a failure, ask first what has arrived."""
        sent, failures, end = 0, 0, start + len(data)
        while True:
            said = {"Content-Range": f"bytes {start + sent}-{end - 1}/{size}"}
            try:
                answer = await self.client.call(
                    "PUT", self._session, headers=said, data=data[sent:], accepted=_MORE, once=True
                )
            except HTTPFailedError as exc:
                failures += 1
                if exc.absent:  # documentation, "Resumable uploads": a finished session is not found, or gone
                    exc.absent, exc.gone = False, True
                if failures > _FAILURES or (exc.status and exc.status < 500 and exc.status != 429):
                    raise
                asked = {"Content-Range": f"bytes */{size}"}
                answer = await self.client.call("PUT", self._session, headers=asked, data=b"", accepted=_MORE)
            if answer.status != 308:
                return answer
            arrived = _arrived(answer.headers.get("Range"))
            if arrived >= end:
                return answer
            failures = 0 if arrived - start > sent else failures
            sent = max(arrived - start, 0)

    async def _abort(self) -> None:
        try:
            await self.client.call("DELETE", self._session, accepted=frozenset({499}))
        except HTTPFailedError:
            return  # it is gone already, or the service is: the original error is the one to report


def _session(found: str, address: str) -> str:
    """Return the address for parts; credentials are sent to no other service."""
    parts = urlsplit(found)
    own = parts.scheme == "https" and (parts.hostname or "").endswith(".googleapis.com")
    if not (own or parts[:2] == urlsplit(address)[:2]) or not found.isprintable() or " " in found:
        raise ValueError("another place")
    return found


def _arrived(header: str | None) -> int:
    """Read how many bytes have arrived: `bytes=0-LAST`; no header if none have."""
    last = (header or "").rpartition("-")[2]
    return int(last) + 1 if last.isdigit() else 0


def _stated(condition: Condition) -> dict[str, object]:
    if condition.if_match is not None:
        return {"ifGenerationMatch": condition.if_match}
    return {"ifGenerationMatch": 0} if condition.if_absent else {}


def _document(answer: Answer) -> dict[str, Any]:
    found = read_json(answer.data)
    if not isinstance(found, dict):
        raise TypeError(found)
    return found


def _object(answer: Answer, name: str) -> dict[str, Any]:
    """Read what an answer says about an object, and check that it belongs to this request."""
    said = _document(answer)
    if said["name"] != name:
        raise ValueError(name)
    return said


def _generation(answer: Answer, name: str) -> str:
    with answer_of(GOOGLE):
        return str(_object(answer, name)["generation"])


def _info(said: Mapping[str, Any], prefix: str) -> ObjectInfo:
    name, modified = str(said["name"]), datetime.fromisoformat(said["updated"]).timestamp()
    return ObjectInfo(name.removeprefix(prefix), int(said["size"]), str(said["generation"]), modified)
