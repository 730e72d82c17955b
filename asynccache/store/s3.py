"""S3Store: objects in a bucket of Amazon S3 or of any server that speaks its protocol, through aiobotocore."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from asynccache.errors import AsyncCacheError, StoreError
from asynccache.model.digest import Digests
from asynccache.model.root import StoreRoot
from asynccache.node.aws_client import tries_of
from asynccache.node.patience import Patience
from asynccache.store.base import ALWAYS, BytesMoved, Condition, ObjectInfo, Unfinished, checked_key
from asynccache.store.conditions import RememberedConditions
from asynccache.store.options import StoreOptions
from asynccache.store.remote import Described, RemoteStore
from asynccache.store.requests import CallFailedError
from asynccache.store.s3_client import S3Client
from asynccache.store.s3_errors import S3FailedError, field_of, store_error
from asynccache.store.s3_upload import MultipartUpload, part_size
from asynccache.store.transfer import WRITER

_MIN_PART: Final = 5 << 20  # bytes; S3 user guide, "Amazon S3 multipart upload limits"
_INLINE_BYTES: Final = 128 << 10  # below this a thread costs more than the digest
_PROBE: Final = "asynccache/probe"


class S3Store(RemoteStore):
    """Objects below `s3://bucket/prefix`.

    Listings are in the server's order: that of the keys' UTF-8 bytes by the protocol, segment by segment on SeaweedFS.

    Args:
        root: A root of the kind `s3`.
        options: How to reach it.

    Attributes:
        client: Makes the requests, and counts them.
    """

    def __init__(self, root: StoreRoot, options: StoreOptions | None = None) -> None:
        options = _with_its_tries(options or StoreOptions())
        self.client = S3Client(root, options)
        super().__init__(root, options, self.client, _MIN_PART)

    @property
    def asked_with(self) -> str | None:
        """See `Store.asked_with`."""
        return self.client.asked_with

    def another(self) -> S3Store:
        """See `Store.another`."""
        return S3Store(self._root, self._options)

    async def _honours_conditions(self, *, again: bool) -> bool:
        """Try conditional writes on a probe object, once per user and store; Amazon's own service honours them."""
        if self.client.is_aws:
            return True
        memory = RememberedConditions(self._options.cache_dir, self._root.identity)
        known = None if again else await self._threads.run(memory.known)
        if known is None:
            known = await self._probe()
            await self._threads.run(memory.remember, known)
        return known

    async def _probe(self) -> bool:
        """Try conditions that do not hold on an object with a fixed key, which is removed if that is permitted: so at
        most one is ever left, and on a server that honours conditions nothing is written once it exists.
        """
        body = {"Key": self._prefix + _PROBE, "Body": b"probe", **_checksum_of(b"probe")}
        created = await self._accepts({**body, "IfNoneMatch": "*"})
        try:
            if created and await self._accepts({**body, "IfNoneMatch": "*"}):
                return False
            return not await self._accepts({**body, "IfMatch": '"00000000000000000000000000000000"'})
        finally:
            if created:
                with suppress(StoreError):  # publishing must not need the permission to delete
                    await self._delete(_PROBE)

    async def _accepts(self, request: dict[str, Any]) -> bool:
        """Return whether the server writes an object whose condition may not hold."""
        try:
            await self.client.call("put_object", request)
        except S3FailedError as exc:
            if exc.lost or exc.absent:  # absent: a condition on an object that another client has removed meanwhile
                return False
            if exc.unsupported:
                return True  # without a condition it would write
            raise self._error(exc, _PROBE) from exc.cause
        return True

    async def _describe(self, key: str) -> Described | None:
        try:
            answer = await self.client.call("head_object", {"Key": self._prefix + key})
        except S3FailedError as exc:
            if exc.absent:
                return None
            raise
        field_of(answer, "ETag", self.client.endpoint)  # otherwise a sign-in page would be taken for the object
        info = _info(key, field_of(answer, "ContentLength", self.client.endpoint), answer)
        return Described(info, answer.get("Metadata", {}).get(WRITER))

    async def _send(self, key: str, data: bytes, digests: Digests, condition: Condition, writer: str) -> str:
        checksum = _checksum(digests)
        if not checksum:
            checksum = await self._threads.run(_checksum_of, data) if len(data) > _INLINE_BYTES else _checksum_of(data)
        parameters = {"Key": self._prefix + key, "Body": data, "Metadata": {WRITER: writer}, **checksum}
        answer = await self.client.call("put_object", {**parameters, **_stated(condition)}, body_bytes=len(data))
        return str(field_of(answer, "ETag", self.client.endpoint))

    async def _send_file(
        self, key: str, path: Path, size: int, digests: Digests, condition: Condition, writer: str,
        moved: BytesMoved | None,
    ) -> str:  # fmt: skip
        upload = self._transfer(MultipartUpload, key, path, moved, self.client)
        return await upload.run(size, digests, writer, _stated(condition))

    def _requests_in_parts(self, size: int) -> int:
        """See `RemoteStore`; one request begins an upload, another one completes it."""
        return -(-size // part_size(size, self._part_bytes)) + 2

    async def _page(self, prefix: str, after: str, limit: int) -> tuple[list[ObjectInfo], bool]:
        parameters: dict[str, Any] = {"Prefix": prefix, "MaxKeys": limit}
        if after:
            parameters["StartAfter"] = after
        answer = await self.client.call("list_objects_v2", parameters)
        more = bool(field_of(answer, "IsTruncated", self.client.endpoint))
        found = answer.get("Contents", [])
        return [_info(item["Key"].removeprefix(self._prefix), item["Size"], item) for item in found], more

    async def _remove(self, key: str, etag: str | None = None) -> None:
        await self.client.call("delete_object", {"Key": self._prefix + key, **_stated(Condition(if_match=etag))})

    async def _copy(self, key: str, new_key: str) -> None:
        """Copy up to 5 GiB."""
        source = {"Bucket": self.client.bucket, "Key": self._prefix + key}
        await self.client.call("copy_object", {"Key": self._prefix + new_key, "CopySource": source})

    async def unfinished(self) -> list[Unfinished]:
        """See `Store.unfinished`."""
        found: list[Unfinished] = []
        parameters = {"Prefix": self._prefix}
        while True:
            with self._errors(""):
                answer = await self.client.call("list_multipart_uploads", parameters)
            for item in answer.get("Uploads", []):
                key = str(item["Key"])
                if key.startswith(self._prefix):
                    begun = item["Initiated"].timestamp()
                    found.append(Unfinished(key.removeprefix(self._prefix), str(item["UploadId"]), begun))
            after = {"KeyMarker": answer.get("NextKeyMarker"), "UploadIdMarker": answer.get("NextUploadIdMarker")}
            if not answer.get("IsTruncated") or not after["KeyMarker"]:
                return found
            parameters = {"Prefix": self._prefix, **{name: str(value) for name, value in after.items() if value}}

    async def abandon(self, upload: Unfinished) -> None:
        """See `Store.abandon`."""
        parameters = {"Key": self._prefix + checked_key(upload.key), "UploadId": upload.upload_id}
        try:
            await self.client.call("abort_multipart_upload", parameters)
        except S3FailedError as exc:
            if not exc.absent and exc.code != "NoSuchUpload":
                raise self._error(exc, upload.key) from exc.cause

    def _error(self, failure: CallFailedError, key: str, condition: Condition = ALWAYS) -> AsyncCacheError:
        return store_error(failure, self._address, key, self.client.endpoint, condition)


def _with_its_tries(options: StoreOptions) -> StoreOptions:
    """Return options whose patience has the number of tries set for S3."""
    tries = tries_of(options.settings.s3_client_retry_config)
    if tries is None:
        return options
    borne = options.patience
    return replace(options, patience=Patience(tries, borne.outage, borne.throttled, borne.longest))


def _stated(condition: Condition) -> dict[str, str]:
    """Return a condition as parameters of a request."""
    if condition.if_match is not None:
        return {"IfMatch": condition.if_match}
    return {"IfNoneMatch": "*"} if condition.if_absent else {}


def _info(key: str, size: Any, answer: dict[str, Any]) -> ObjectInfo:
    modified = answer.get("LastModified")
    return ObjectInfo(key, int(size), answer.get("ETag"), modified.timestamp() if modified else None)


def _checksum_of(data: bytes) -> dict[str, str]:
    """Return the headers for every body: without them a connection that ends after the headers leaves an empty object
    on some servers.
    """
    return _checksum(Digests(sha256=hashlib.sha256(data).hexdigest()))


def _checksum(digests: Digests) -> dict[str, str]:
    """Return the parameters by which the server verifies a body in one piece, from the strongest known digest.

    Buckets with object lock want the algorithm to be named as well (S3 API reference, "PutObject").
    """
    if digests.sha256 is not None:
        digest = base64.b64encode(bytes.fromhex(digests.sha256)).decode("ascii")
        return {"ChecksumSHA256": digest, "ChecksumAlgorithm": "SHA256"}
    if digests.md5 is not None:
        return {"ContentMD5": base64.b64encode(bytes.fromhex(digests.md5)).decode("ascii")}
    return {}
