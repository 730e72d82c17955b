"""S3Store: objects in a bucket of Amazon S3 or of any server that speaks its protocol, through aiobotocore."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from asynccache.errors import StoreError
from asynccache.model.digest import Digests
from asynccache.model.root import StoreRoot
from asynccache.runtime.threads import ThreadRoom
from asynccache.store.base import (
    BytesMoved,
    Capabilities,
    ObjectInfo,
    checked_key,
    checked_put,
    lost,
    not_found,
)
from asynccache.store.local_files import read_error
from asynccache.store.open import StoreOptions
from asynccache.store.s3_client import S3Client
from asynccache.store.s3_download import Download, ReplacedError
from asynccache.store.s3_errors import CallFailedError, field_of, store_error
from asynccache.store.s3_upload import WRITER, MultipartUpload

_PAGE: Final = 1000  # keys; more is not to be had from ListObjectsV2
_MIN_PART: Final = 5 << 20  # bytes; S3 user guide, "Amazon S3 multipart upload limits"
_RESTARTS: Final = 3  # of a transfer whose object changed under it
_PROBE: Final = "asynccache/probe"


class S3Store:
    """Objects below `s3://bucket/prefix`.

    Listings come in the server's order: that of the keys' UTF-8 bytes by the protocol, segment by segment on SeaweedFS.

    Args:
        root: A root of the kind `s3`.
        options: How to reach it.
    """

    def __init__(self, root: StoreRoot, options: StoreOptions | None = None) -> None:
        self._options = options or StoreOptions()
        self._root = root
        self._prefix = f"{root.path}/" if root.path else ""
        self._address = str(root)
        self._client = S3Client(root, self._options)
        self._threads = ThreadRoom(4, "asynccache-store")
        self._capabilities: Capabilities | None = None
        self._probing = asyncio.Lock()
        self._part_bytes = max(self._options.part_bytes, _MIN_PART)

    @property
    def root(self) -> StoreRoot:
        """Where the store lies."""
        return self._root

    @property
    def address(self) -> str:
        """The root without a slash at its end."""
        return self._address

    @property
    def requests(self) -> int:
        """How many HTTP requests were sent, repeated ones included."""
        return self._client.requests

    @property
    def retries(self) -> int:
        """How many of the requests repeated another one."""
        return self._client.retries

    @property
    def throttled(self) -> int:
        """How many requests were refused because of their rate."""
        return self._client.throttled

    @property
    def lists_by_page(self) -> bool:
        """A listing is a request."""
        return True

    async def __aenter__(self) -> Self:
        await self._client.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._client.close()
        finally:
            self._threads.close()

    def another(self) -> S3Store:
        """See `Store.another`."""
        return S3Store(self._root, self._options)

    async def capabilities(self) -> Capabilities:
        """Try conditional writes on a probe object; Amazon's own service is known to honour them."""
        async with self._probing:
            if self._capabilities is None:
                honoured = self._client.is_aws or await self._probe()
                self._capabilities = Capabilities(conditional_put=honoured)
        return self._capabilities

    async def _probe(self) -> bool:
        """Try conditions that do not hold on an object of a fixed key, which is removed where that is permitted: so no
        more than one is ever left, and on a server that honours conditions nothing is written once it is there.
        """
        body = {"Key": self._prefix + _PROBE, "Body": b"probe"}
        created = await self._accepts({**body, "IfNoneMatch": "*"})
        try:
            if created and await self._accepts({**body, "IfNoneMatch": "*"}):
                return False
            return not await self._accepts({**body, "IfMatch": '"00000000000000000000000000000000"'})
        finally:
            if created:
                with suppress(StoreError):  # publishing must not need the right to delete
                    await self.delete(_PROBE)

    async def _accepts(self, request: dict[str, Any]) -> bool:
        """Tell whether the server writes an object whose condition may not hold."""
        try:
            await self._client.call("put_object", request)
        except CallFailedError as exc:
            if exc.lost or exc.absent:  # absent: a condition on an object that another one has removed meanwhile
                return False
            if exc.unsupported:
                return True  # it would write if it were asked without
            raise self._error(exc, _PROBE) from exc.cause
        return True

    async def head(self, key: str) -> ObjectInfo | None:
        """See `Store.head`."""
        found = await self._head(checked_key(key))
        return None if found is None else _info(key, found)

    async def _head(self, key: str) -> dict[str, Any] | None:
        try:
            answer: dict[str, Any] = await self._client.call("head_object", {"Key": self._prefix + key})
        except CallFailedError as exc:
            if exc.absent:
                return None
            raise self._error(exc, key) from exc.cause
        return answer

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """See `Store.get`."""
        parameters = {"Key": self._prefix + checked_key(key)}
        if length == 0:
            length, empty = 1, True  # no range is empty; the object must exist all the same
        else:
            empty = False
        if start or length is not None:
            parameters["Range"] = f"bytes={start}-" + ("" if length is None else str(start + length - 1))

        async def receive(answer: Any) -> bytes:
            async with answer["Body"] as body:
                return bytes(await body.read())

        try:
            data: bytes = await self._client.call(
                "get_object", parameters, receive=receive, body_bytes=length or 1 << 20
            )
        except CallFailedError as exc:
            if exc.code in {"InvalidRange", "416"}:
                return b""
            raise self._error(exc, key) from exc.cause
        return b"" if empty else data

    async def download(self, key: str, path: Path, *, size: int | None = None, moved: BytesMoved | None = None) -> int:
        """See `Store.download`. An object that is replaced meanwhile is read anew from its beginning."""
        checked_key(key)
        for _ in range(_RESTARTS):
            download = Download(
                self._client,
                self._threads,
                self._prefix + key,
                path,
                part_bytes=self._part_bytes,
                at_once=self._options.parts_at_once,
                moved=moved,
            )
            try:
                return await download.run(size)
            except ReplacedError:
                continue
            except CallFailedError as exc:
                if exc.lost:
                    continue
                if exc.code in {"InvalidRange", "416"}:  # an empty object has no range
                    return 0
                raise self._error(exc, key) from exc.cause
        raise StoreError(f"{key} in {self._address} is replaced again and again while it is read")

    async def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> ObjectInfo:
        """See `Store.put`."""
        checked_put(self._address, key, len(data), if_absent=if_absent, if_match=if_match)
        # without one a connection that ends behind the headers leaves an empty object on some servers
        checksum = _checksum(Digests(sha256=hashlib.sha256(data).hexdigest()))
        return await self._put(key, data, checksum, if_absent=if_absent, if_match=if_match)

    async def _put(
        self, key: str, data: bytes, checksum: dict[str, str], *, if_absent: bool, if_match: str | None = None
    ) -> ObjectInfo:
        writer = secrets.token_hex(16)
        parameters = {"Key": self._prefix + key, "Body": data, "Metadata": {WRITER: writer}, **checksum}
        parameters |= await self._condition(key, if_absent=if_absent, if_match=if_match)
        try:
            answer = await self._client.call("put_object", parameters, body_bytes=len(data))
        except CallFailedError as exc:
            own = await self._own(key, writer) if exc.lost else None
            if own is None:
                raise self._error(exc, key, if_match) from exc.cause
            return own
        return ObjectInfo(key, len(data), field_of(answer, "ETag", self._client.endpoint))

    async def _condition(self, key: str, *, if_absent: bool, if_match: str | None) -> dict[str, str]:
        """Return the condition as a request states it; where the server ignores conditions, look before writing."""
        if not if_absent and if_match is None:
            return {}
        if (await self.capabilities()).conditional_put:
            return {"IfNoneMatch": "*"} if if_match is None else {"IfMatch": if_match}
        await self._look(key, if_absent=if_absent, if_match=if_match)
        return {}

    async def _look(self, key: str, *, if_absent: bool, if_match: str | None) -> None:
        """Raise if a condition does not hold now."""
        if not if_absent and if_match is None:
            return
        found = await self.head(key)
        if (if_absent and found is not None) or (if_match is not None and (found is None or found.etag != if_match)):
            raise lost(self._address, key, if_match=if_match)

    async def _own(self, key: str, writer: str) -> ObjectInfo | None:
        """Return the object if this writer wrote it: an earlier try succeeded and its answer was lost.

        Asked whenever a condition fails, not only after a try of ours: aiohttp repeats a request by itself when a
        kept-alive connection breaks.
        """
        found = await self._head(key)
        return _info(key, found) if found is not None and found.get("Metadata", {}).get(WRITER) == writer else None

    async def upload(
        self,
        key: str,
        path: Path,
        digests: Digests,
        *,
        if_absent: bool = True,
        if_match: str | None = None,
        consume: bool = False,
        moved: BytesMoved | None = None,
    ) -> ObjectInfo:
        """See `Store.upload`. Small files go in one request, large ones in parts; the server verifies either."""
        del consume
        if_absent = if_absent and if_match is None
        try:
            size = (await self._threads.run(path.stat)).st_size
            checked_put(self._address, key, size, if_absent=if_absent, if_match=if_match)
            digests.check(Digests(size=size), str(path), hint="the file has changed; make it anew")
            if size > 2 * self._part_bytes:
                return await self._upload_parts(
                    key, path, size, digests, if_absent=if_absent, if_match=if_match, moved=moved
                )
            data = await self._threads.run(path.read_bytes)
        except OSError as exc:
            raise read_error(path, exc) from exc
        info = await self._put(key, data, _checksum(digests), if_absent=if_absent, if_match=if_match)
        if moved is not None:
            moved(size)
        return info

    async def _upload_parts(
        self,
        key: str,
        path: Path,
        size: int,
        digests: Digests,
        *,
        if_absent: bool,
        if_match: str | None,
        moved: BytesMoved | None,
    ) -> ObjectInfo:
        # looking first spares the transfer; the condition is checked again where it counts
        await self._look(key, if_absent=if_absent, if_match=if_match)
        condition = await self._condition(key, if_absent=if_absent, if_match=if_match)
        for attempt in range(1, _RESTARTS + 1):
            writer = secrets.token_hex(16)
            parts = MultipartUpload(
                self._client,
                self._threads,
                self._prefix + key,
                path,
                digests,
                part_bytes=self._part_bytes,
                at_once=self._options.parts_at_once,
                moved=moved,
            )
            try:
                return ObjectInfo(key, size, await parts.run(size, writer, condition))
            except CallFailedError as exc:
                # the upload is gone: completed by a try whose answer was lost, or swept away by someone
                gone = exc.code == "NoSuchUpload"
                own = await self._own(key, writer) if gone or exc.lost else None
                if own is not None:
                    return own
                if attempt == _RESTARTS or not gone:
                    raise self._error(exc, key, if_match) from exc.cause
        raise AssertionError("the last attempt returns or raises")

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """See `Store.scan`."""
        while True:
            page = await self.list_page(prefix, start_after=start_after)
            for info in page:
                yield info
            if len(page) < _PAGE:
                return
            start_after = page[-1].key

    async def list_page(self, prefix: str, *, start_after: str = "", limit: int = _PAGE) -> list[ObjectInfo]:
        """See `Store.list_page`."""
        limit = min(limit, _PAGE)
        infos: list[ObjectInfo] = []
        while len(infos) < limit:
            parameters: dict[str, Any] = {"Prefix": self._prefix + prefix, "MaxKeys": limit - len(infos)}
            # behind the prefix itself, which some tools keep as an empty object
            if after := self._prefix + (infos[-1].key if infos else start_after):
                parameters["StartAfter"] = after
            try:
                answer = await self._client.call("list_objects_v2", parameters)
            except CallFailedError as exc:
                raise self._error(exc, "") from exc.cause
            more = field_of(answer, "IsTruncated", self._client.endpoint)
            found = answer.get("Contents", [])
            infos += [_listed(item, len(self._prefix)) for item in found]
            # a server may send less than was asked for; only it knows whether that was all
            if not found or not more:
                break
        return infos

    async def delete(self, key: str) -> None:
        """See `Store.delete`."""
        try:
            await self._client.call("delete_object", {"Key": self._prefix + checked_key(key)})
        except CallFailedError as exc:
            if not exc.absent:
                raise self._error(exc, key) from exc.cause

    async def move(self, key: str, new_key: str) -> None:
        """See `Store.move`; the server copies, up to 5 GiB."""
        source = {"Bucket": self._client.bucket, "Key": self._prefix + checked_key(key)}
        parameters = {"Key": self._prefix + checked_key(new_key), "CopySource": source}
        if key == new_key:
            if await self.head(key) is None:
                raise not_found(self._address, key)
            return
        try:
            await self._client.call("copy_object", parameters)
        except CallFailedError as exc:
            raise self._error(exc, key) from exc.cause
        await self.delete(key)

    def _error(self, failure: CallFailedError, key: str, if_match: str | None = None) -> Exception:
        return store_error(failure, self._address, key, self._client.endpoint, if_match=if_match)


def _info(key: str, answer: dict[str, Any]) -> ObjectInfo:
    modified = answer.get("LastModified")
    return ObjectInfo(
        key,
        int(field_of(answer, "ContentLength", "the server")),
        answer.get("ETag"),
        modified.timestamp() if modified else None,
    )


def _listed(item: dict[str, Any], prefix_length: int) -> ObjectInfo:
    modified = item.get("LastModified")
    return ObjectInfo(
        item["Key"][prefix_length:], int(item["Size"]), item.get("ETag"), modified.timestamp() if modified else None
    )


def _checksum(digests: Digests) -> dict[str, str]:
    """Return what lets the server verify a body in one piece, from the strongest digest that is known."""
    if digests.sha256 is not None:
        return {"ChecksumSHA256": base64.b64encode(bytes.fromhex(digests.sha256)).decode("ascii")}
    if digests.md5 is not None:
        return {"ContentMD5": base64.b64encode(bytes.fromhex(digests.md5)).decode("ascii")}
    return {}
