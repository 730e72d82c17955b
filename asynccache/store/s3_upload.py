"""Publishing large files to S3 in parts, bounded in memory, visible only once the server has verified all of them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests
from asynccache.runtime.tasks import to_the_end
from asynccache.store.requests import CallFailedError
from asynccache.store.s3_client import S3Client
from asynccache.store.s3_errors import FAILURES, field_of
from asynccache.store.transfer import WRITER, Transfer

MOST_PARTS: Final = 10_000  # S3 user guide, "Amazon S3 multipart upload limits"
_ABORT_SECONDS: Final = 10.0


def part_size(size: int, part_bytes: int) -> int:
    """Return the size of a file's parts: `part_bytes`, or as many whole MiB as keep their number in bounds.

    >>> part_size(1 << 30, 8 << 20) == 8 << 20, part_size(1 << 40, 8 << 20) >> 20
    (True, 105)
    """
    return max(part_bytes, -(-size // (MOST_PARTS << 20)) << 20)


@dataclass(slots=True, kw_only=True)
class MultipartUpload(Transfer[S3Client]):
    """Sends one file in parts. If it ends early, also by cancellation, the upload is aborted at the server."""

    _upload_id: str | None = field(default=None, init=False)
    _parts: dict[int, dict[str, Any]] = field(default_factory=dict, init=False)

    async def run(self, size: int, digests: Digests, writer: str, condition: Mapping[str, str]) -> str:
        """Send it; return the object's etag.

        Args:
            size: Size of the file, in bytes.
            digests: Digests of the file; compared with what was sent before the object becomes visible.
            writer: Kept in the object's metadata.
            condition: Condition under which the object may become visible, as parameters of the last request.

        Raises:
            CallFailedError: A request failed; nothing became visible unless only the last answer was lost.
            IntegrityError: The file is not what its digests say.
        """
        try:
            await to_the_end(self._create(writer), _ABORT_SECONDS)
            await self.send_parts(size, part_size(size, self.part_bytes), digests, self._send_part)
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
            return  # it is gone already, or the server is: the original error is the one to report

    async def _send_part(self, index: int, data: bytes) -> None:
        number, digest = index + 1, await self.threads.run(_sha256, data)
        part: dict[str, Any] = {"PartNumber": number, "ChecksumSHA256": digest}
        asked = {"Key": self.key, "UploadId": self._upload_id, "Body": data, "ChecksumAlgorithm": "SHA256", **part}
        answer = await self.client.call("upload_part", asked, body_bytes=len(data))
        self._parts[number] = {**part, "ETag": field_of(answer, "ETag", self.client.endpoint)}


def _sha256(data: bytes) -> str:
    """Return a digest in S3's format."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")
