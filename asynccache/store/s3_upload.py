"""Publishing large files to S3 in parts, bounded in memory, visible only when the server has all of them verified."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from asynccache.errors import IntegrityError
from asynccache.model.digest import Digests, Hasher
from asynccache.runtime.tasks import run_together, to_the_end
from asynccache.runtime.threads import ThreadRoom
from asynccache.store.base import BytesMoved
from asynccache.store.s3_client import S3Client
from asynccache.store.s3_errors import FAILURES, CallFailedError, field_of

MOST_PARTS: Final = 10_000  # S3 user guide, "Amazon S3 multipart upload limits"
WRITER: Final = "asynccache-writer"  # object metadata: who wrote it, to know one's own object after a lost reply
_ABORT_SECONDS: Final = 10.0


def part_size(size: int, part_bytes: int) -> int:
    """Return the size of a file's parts: `part_bytes`, or as many whole MiB as keep their number in bounds.

    >>> part_size(1 << 30, 8 << 20) == 8 << 20, part_size(1 << 40, 8 << 20) >> 20
    (True, 105)
    """
    return max(part_bytes, -(-size // (MOST_PARTS << 20)) << 20)


class MultipartUpload:
    """Sends one file in parts. Whatever ends it early, a cancellation too, aborts the upload at the server.

    Args:
        client: Where to.
        threads: Where the file is read and digested.
        object_key: Key in the bucket.
        path: The file.
        digests: What the file is; compared with what was sent before the object becomes visible.
        part_bytes: Smallest size of a part.
        at_once: Parts under way; each is held in memory.
        moved: Told of progress.
    """

    def __init__(
        self,
        client: S3Client,
        threads: ThreadRoom,
        object_key: str,
        path: Path,
        digests: Digests,
        *,
        part_bytes: int,
        at_once: int,
        moved: BytesMoved | None,
    ) -> None:
        self._client = client
        self._threads = threads
        self._key = object_key
        self._path = path
        self._digests = digests
        self._part_bytes = part_bytes
        self._at_once = at_once
        self._moved = moved
        self._upload_id: str | None = None
        self._parts: dict[int, dict[str, Any]] = {}

    async def run(self, size: int, writer: str, condition: Mapping[str, str]) -> str:
        """Send it; return the object's etag.

        Args:
            size: Of the file, in bytes.
            writer: Kept in the object's metadata.
            condition: Under which the object may become visible, as parameters of the last request.

        Raises:
            CallFailedError: A request failed; nothing became visible unless only the last answer was lost.
            IntegrityError: The file is not what its digests say.
        """
        try:
            await to_the_end(self._create(writer), _ABORT_SECONDS)
            await self._send(size)
            parts = [self._parts[number] for number in sorted(self._parts)]
            answer = await self._client.call(
                "complete_multipart_upload",
                {"Key": self._key, "UploadId": self._upload_id, "MultipartUpload": {"Parts": parts}, **condition},
            )
        except BaseException:
            if self._upload_id is not None:
                await to_the_end(self._abort(self._upload_id), _ABORT_SECONDS)
            raise
        return str(field_of(answer, "ETag", self._client.endpoint))

    async def _create(self, writer: str) -> None:
        answer = await self._client.call(
            "create_multipart_upload",
            {"Key": self._key, "ChecksumAlgorithm": "SHA256", "Metadata": {WRITER: writer}},
        )
        self._upload_id = str(field_of(answer, "UploadId", self._client.endpoint))

    async def _abort(self, upload_id: str) -> None:
        try:
            async with asyncio.timeout(_ABORT_SECONDS):
                await self._client.call("abort_multipart_upload", {"Key": self._key, "UploadId": upload_id})
        except (CallFailedError, *FAILURES):
            return  # gone already, or the server is: what brought us here is the error to hear of

    async def _send(self, size: int) -> None:
        length = part_size(size, self._part_bytes)
        hasher = Hasher(*self._digests.algorithms()[:1])
        turn = asyncio.Lock()  # one reader, so that the whole file is digested in order
        numbers = iter(range(1, -(-size // length) + 1))
        descriptor = await self._threads.run(os.open, self._path, os.O_RDONLY | os.O_CLOEXEC)

        async def work() -> None:
            while True:
                async with turn:
                    number = next(numbers, None)
                    if number is None:
                        return
                    data, digest = await self._threads.run(
                        _read_part, descriptor, length, (number - 1) * length, hasher
                    )
                await self._send_part(number, data, digest)

        try:
            await run_together([work() for _ in range(self._at_once)])
        finally:
            os.close(descriptor)
        self._digests.check(hasher.digests(), str(self._path), hint="the file has changed; make it anew")

    async def _send_part(self, number: int, data: bytes, digest: str) -> None:
        if not data:
            raise IntegrityError(f"{self._path} became shorter while it was uploaded", hint="make the file anew")
        answer = await self._client.call(
            "upload_part",
            {
                "Key": self._key,
                "UploadId": self._upload_id,
                "PartNumber": number,
                "Body": data,
                "ChecksumSHA256": digest,
            },
            body_bytes=len(data),
        )
        self._parts[number] = {
            "PartNumber": number,
            "ETag": field_of(answer, "ETag", self._client.endpoint),
            "ChecksumSHA256": digest,
        }
        if self._moved is not None:
            self._moved(len(data))


def _read_part(descriptor: int, length: int, offset: int, hasher: Hasher) -> tuple[bytes, str]:
    """Read one part; return it and its sha256, base64 as S3 wants it."""
    blocks = []
    while length and (block := os.pread(descriptor, length, offset)):
        blocks.append(block)
        length -= len(block)
        offset += len(block)
    data = blocks[0] if len(blocks) == 1 else b"".join(blocks)
    hasher.update(data)
    return data, base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")
