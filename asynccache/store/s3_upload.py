"""Publishing large files to S3 in parts, bounded in memory, visible only when the server has all of them verified."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

from asynccache.errors import IntegrityError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests, Hasher
from asynccache.runtime.tasks import run_together, to_the_end
from asynccache.store.s3_client import Transfer
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


@dataclass(slots=True, kw_only=True)
class MultipartUpload(Transfer):
    """Sends one file in parts. Whatever ends it early, a cancellation too, aborts the upload at the server."""

    _upload_id: str | None = field(default=None, init=False)
    _parts: dict[int, dict[str, Any]] = field(default_factory=dict, init=False)

    async def run(self, size: int, digests: Digests, writer: str, condition: Mapping[str, str]) -> str:
        """Send it; return the object's etag.

        Args:
            size: Of the file, in bytes.
            digests: What the file is; compared with what was sent before the object becomes visible.
            writer: Kept in the object's metadata.
            condition: Under which the object may become visible, as parameters of the last request.

        Raises:
            CallFailedError: A request failed; nothing became visible unless only the last answer was lost.
            IntegrityError: The file is not what its digests say.
        """
        try:
            await to_the_end(self._create(writer), _ABORT_SECONDS)
            await self._send(size, digests)
            parts = [self._parts[number] for number in sorted(self._parts)]
            answer = await self.client.call(
                "complete_multipart_upload",
                {"Key": self.key, "UploadId": self._upload_id, "MultipartUpload": {"Parts": parts}, **condition},
            )
        except BaseException:
            if self._upload_id is not None:
                await to_the_end(self._abort(self._upload_id), _ABORT_SECONDS)
            raise
        return str(field_of(answer, "ETag", self.client.endpoint))

    async def _create(self, writer: str) -> None:
        asked = {"Key": self.key, "ChecksumAlgorithm": "SHA256", "Metadata": {WRITER: writer}}
        answer = await self.client.call("create_multipart_upload", asked)
        self._upload_id = str(field_of(answer, "UploadId", self.client.endpoint))

    async def _abort(self, upload_id: str) -> None:
        try:
            async with asyncio.timeout(_ABORT_SECONDS):
                await self.client.call("abort_multipart_upload", {"Key": self.key, "UploadId": upload_id})
        except (CallFailedError, *FAILURES):
            return  # gone already, or the server is: what brought us here is the error to hear of

    async def _send(self, size: int, digests: Digests) -> None:
        length = part_size(size, self.part_bytes)
        hasher = Hasher(*digests.algorithms()[:1])
        turn = asyncio.Lock()  # one reader, so that the whole file is digested in order
        numbers = iter(range(1, -(-size // length) + 1))
        descriptor = await self.threads.run(os.open, self.path, os.O_RDONLY | os.O_CLOEXEC)

        async def work() -> None:
            while True:
                async with turn:
                    number = next(numbers, None)
                    if number is None:
                        return
                    data, digest = await self.threads.run(_read_part, descriptor, length, (number - 1) * length, hasher)
                await self._send_part(number, data, digest)

        try:
            await run_together([work() for _ in range(self.at_once)])
        finally:
            os.close(descriptor)
        digests.check(hasher.digests(), str(self.path), hint="the file has changed; make it anew")

    async def _send_part(self, number: int, data: bytes, digest: str) -> None:
        if not data:
            raise IntegrityError(f"{self.path} became shorter while it was uploaded", hint="make the file anew")
        part: dict[str, Any] = {"PartNumber": number, "ChecksumSHA256": digest}
        asked = {"Key": self.key, "UploadId": self._upload_id, "Body": data, **part}
        answer = await self.client.call("upload_part", asked, body_bytes=len(data))
        self._parts[number] = {**part, "ETag": field_of(answer, "ETag", self.client.endpoint)}
        if self.moved is not None:
            self.moved(len(data))


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
