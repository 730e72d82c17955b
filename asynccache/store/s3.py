"""S3Store: objects in a bucket of Amazon S3 or of any server that speaks its protocol, through aiobotocore."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from asynccache.errors import StoreError
from asynccache.model.digest import Digests
from asynccache.model.root import StoreRoot
from asynccache.runtime.threads import ThreadRoom
from asynccache.store.base import ALWAYS, PAGE, BytesMoved, Condition, ObjectInfo, Store, checked_key, not_found
from asynccache.store.local_files import read_error
from asynccache.store.open import StoreOptions
from asynccache.store.s3_client import S3Client, Transfer
from asynccache.store.s3_download import Download, ReplacedError
from asynccache.store.s3_errors import CallFailedError, field_of, store_error
from asynccache.store.s3_upload import WRITER, MultipartUpload

T = TypeVar("T", bound=Transfer)
_MIN_PART: Final = 5 << 20  # bytes; S3 user guide, "Amazon S3 multipart upload limits"
_RESTARTS: Final = 3  # of a transfer whose object changed under it
_PROBE: Final = "asynccache/probe"


class S3Store(Store):
    """Objects below `s3://bucket/prefix`.

    Listings come in the server's order: that of the keys' UTF-8 bytes by the protocol, segment by segment on SeaweedFS.

    Args:
        root: A root of the kind `s3`.
        options: How to reach it.

    Attributes:
        client: Makes the requests, and counts them.
    """

    def __init__(self, root: StoreRoot, options: StoreOptions | None = None) -> None:
        super().__init__(root)
        self._options = options or StoreOptions()
        self._prefix = f"{root.path}/" if root.path else ""
        self.client = S3Client(root, self._options)
        self._threads = ThreadRoom(4, "asynccache-store")
        self._part_bytes = max(self._options.part_bytes, _MIN_PART)

    @property
    def requests(self) -> int:
        """How many HTTP requests were sent, repeated ones included."""
        return self.client.requests

    async def __aenter__(self) -> Self:
        await self.client.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            await self.client.close()
        finally:
            self._threads.close()

    def another(self) -> S3Store:
        """See `Store.another`."""
        return S3Store(self._root, self._options)

    async def _honours_conditions(self) -> bool:
        """Try conditional writes on a probe object; Amazon's own service is known to honour them."""
        return self.client.is_aws or await self._probe()

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
            await self.client.call("put_object", request)
        except CallFailedError as exc:
            if exc.lost or exc.absent:  # absent: a condition on an object that another one has removed meanwhile
                return False
            if exc.unsupported:
                return True  # it would write if it were asked without
            raise self._error(exc, _PROBE) from exc.cause
        return True

    async def head(self, key: str) -> ObjectInfo | None:
        """See `Store.head`."""
        return await self._head(checked_key(key))

    async def _head(self, key: str, writer: str | None = None) -> ObjectInfo | None:
        """Return what is known of an object, None also when it is another writer's.

        Asked for this writer's own whenever a condition fails, since an earlier try may have succeeded and its answer
        been lost: not only after a try of ours, as aiohttp repeats a request by itself when a kept-alive connection
        breaks.
        """
        try:
            answer = await self.client.call("head_object", {"Key": self._prefix + key})
        except CallFailedError as exc:
            if exc.absent:
                return None
            raise self._error(exc, key) from exc.cause
        if writer not in {None, answer.get("Metadata", {}).get(WRITER)}:
            return None
        return _info(key, field_of(answer, "ContentLength", self.client.endpoint), answer)

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """See `Store.get`."""
        parameters = {"Key": self._prefix + checked_key(key)}
        if start or length is not None:
            # no range is empty; the object must exist all the same
            last = "" if length is None else start + max(length, 1) - 1
            parameters["Range"] = f"bytes={start}-{last}"

        async def receive(answer: Any) -> bytes:
            async with answer["Body"] as body:
                return bytes(await body.read())

        try:
            data: bytes = await self.client.call(
                "get_object", parameters, receive=receive, body_bytes=length or 1 << 20
            )
        except CallFailedError as exc:
            if exc.code in {"InvalidRange", "416"}:
                return b""
            raise self._error(exc, key) from exc.cause
        return data[:length]

    async def download(self, key: str, path: Path, *, size: int | None = None, moved: BytesMoved | None = None) -> int:
        """See `Store.download`. An object that is replaced meanwhile is read anew from its beginning."""
        checked_key(key)
        for _ in range(_RESTARTS):
            try:
                return await self._transfer(Download, key, path, moved).run(size)
            except ReplacedError:
                continue
            except CallFailedError as exc:
                if exc.lost:
                    continue
                if exc.code in {"InvalidRange", "416"}:  # an empty object has no range
                    return 0
                raise self._error(exc, key) from exc.cause
        raise StoreError(f"{key} in {self._address} is replaced again and again while it is read")

    async def _put(self, key: str, data: bytes, condition: Condition) -> ObjectInfo:
        # without one a connection that ends behind the headers leaves an empty object on some servers
        checksum = _checksum(Digests(sha256=hashlib.sha256(data).hexdigest()))
        return await self._put_whole(key, data, checksum, condition)

    async def _put_whole(self, key: str, data: bytes, checksum: dict[str, str], condition: Condition) -> ObjectInfo:
        writer = secrets.token_hex(16)
        parameters = {"Key": self._prefix + key, "Body": data, "Metadata": {WRITER: writer}, **checksum}
        parameters |= await self._stated(condition, key)
        try:
            answer = await self.client.call("put_object", parameters, body_bytes=len(data))
        except CallFailedError as exc:
            own = await self._head(key, writer) if exc.lost else None
            if own is None:
                raise self._error(exc, key, condition) from exc.cause
            return own
        return ObjectInfo(key, len(data), field_of(answer, "ETag", self.client.endpoint))

    async def _stated(self, condition: Condition, key: str) -> dict[str, str]:
        """Return a condition as a request states it; where the server ignores conditions, look before writing."""
        if condition and not (await self.capabilities()).conditional_put:
            condition.check(self._address, key, await self.head(key))
        elif condition.if_match is not None:
            return {"IfMatch": condition.if_match}
        elif condition.if_absent:
            return {"IfNoneMatch": "*"}
        return {}

    async def _upload(
        self, key: str, path: Path, digests: Digests, condition: Condition, *, consume: bool, moved: BytesMoved | None
    ) -> ObjectInfo:
        """Send small files in one request, large ones in parts; the server verifies either."""
        del consume
        try:
            size = (await self._threads.run(path.stat)).st_size
            self._check_put(key, size)
            digests.check(Digests(size=size), str(path), hint="the file has changed; make it anew")
            if size > 2 * self._part_bytes:
                return await self._upload_parts(key, path, size, digests, condition, moved)
            data = await self._threads.run(path.read_bytes)
        except OSError as exc:
            raise read_error(path, exc) from exc
        info = await self._put_whole(key, data, _checksum(digests), condition)
        if moved is not None:
            moved(size)
        return info

    async def _upload_parts(
        self, key: str, path: Path, size: int, digests: Digests, condition: Condition, moved: BytesMoved | None
    ) -> ObjectInfo:
        if condition:
            # looking first spares the transfer; the condition is checked again where it counts
            condition.check(self._address, key, await self.head(key))
        stated = await self._stated(condition, key)
        for attempt in range(1, _RESTARTS + 1):
            writer = secrets.token_hex(16)
            upload = self._transfer(MultipartUpload, key, path, moved)
            try:
                return ObjectInfo(key, size, await upload.run(size, digests, writer, stated))
            except CallFailedError as exc:
                # the upload is gone: completed by a try whose answer was lost, or swept away by someone
                gone = exc.code == "NoSuchUpload"
                own = await self._head(key, writer) if gone or exc.lost else None
                if own is not None:
                    return own
                if attempt == _RESTARTS or not gone:
                    raise self._error(exc, key, condition) from exc.cause
        raise AssertionError("the last attempt returns or raises")

    def _transfer(self, kind: type[T], key: str, path: Path, moved: BytesMoved | None) -> T:
        return kind(
            client=self.client,
            threads=self._threads,
            key=self._prefix + key,
            path=path,
            part_bytes=self._part_bytes,
            at_once=self._options.parts_at_once,
            moved=moved,
        )

    async def list_page(self, prefix: str, *, start_after: str = "", limit: int = PAGE) -> list[ObjectInfo]:
        """See `Store.list_page`."""
        limit = min(limit, PAGE)
        infos: list[ObjectInfo] = []
        while len(infos) < limit:
            parameters: dict[str, Any] = {"Prefix": self._prefix + prefix, "MaxKeys": limit - len(infos)}
            # behind the prefix itself, which some tools keep as an empty object
            if after := self._prefix + (infos[-1].key if infos else start_after):
                parameters["StartAfter"] = after
            with self._errors(""):
                answer = await self.client.call("list_objects_v2", parameters)
            more = field_of(answer, "IsTruncated", self.client.endpoint)
            found = answer.get("Contents", [])
            infos += [_info(item["Key"].removeprefix(self._prefix), item["Size"], item) for item in found]
            # a server may send less than was asked for; only it knows whether that was all
            if not found or not more:
                break
        return infos

    async def delete(self, key: str) -> None:
        """See `Store.delete`."""
        try:
            await self.client.call("delete_object", {"Key": self._prefix + checked_key(key)})
        except CallFailedError as exc:
            if not exc.absent:
                raise self._error(exc, key) from exc.cause

    async def move(self, key: str, new_key: str) -> None:
        """See `Store.move`; the server copies, up to 5 GiB."""
        source = {"Bucket": self.client.bucket, "Key": self._prefix + checked_key(key)}
        parameters = {"Key": self._prefix + checked_key(new_key), "CopySource": source}
        if key == new_key:
            if await self.head(key) is None:
                raise not_found(self._address, key)
            return
        with self._errors(key):
            await self.client.call("copy_object", parameters)
        await self.delete(key)

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except CallFailedError as exc:
            raise self._error(exc, key) from exc.cause

    def _error(self, failure: CallFailedError, key: str, condition: Condition = ALWAYS) -> Exception:
        return store_error(failure, self._address, key, self.client.endpoint, condition)


def _info(key: str, size: Any, answer: dict[str, Any]) -> ObjectInfo:
    modified = answer.get("LastModified")
    return ObjectInfo(key, int(size), answer.get("ETag"), modified.timestamp() if modified else None)


def _checksum(digests: Digests) -> dict[str, str]:
    """Return what lets the server verify a body in one piece, from the strongest digest that is known."""
    if digests.sha256 is not None:
        return {"ChecksumSHA256": base64.b64encode(bytes.fromhex(digests.sha256)).decode("ascii")}
    if digests.md5 is not None:
        return {"ContentMD5": base64.b64encode(bytes.fromhex(digests.md5)).decode("ascii")}
    return {}
