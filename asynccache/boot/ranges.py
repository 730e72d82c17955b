"""Objects of a cache's root as a bare node reads them: over HTTP, from S3, or from a directory."""

from __future__ import annotations

import os
import ssl
import urllib.error
import urllib.request
from typing import Any

from asynccache.errors import HydrationError
from asynccache.node.errors import NoPackError, PackUnusableError
from asynccache.node.ranges import LocalRanges, PassingError, Ranges

_TIMEOUT = 30.0  # seconds
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))


class HTTPRanges(Ranges):
    """An object behind a URL.

    Args:
        url: http or https; its query may hold a signature and is never shown.
    """

    def __init__(self, url: str) -> None:
        Ranges.__init__(self, url.partition("?")[0])
        self._url = url
        self._context = ssl.create_default_context() if url.startswith("https:") else None

    def open(self, start: int, length: int) -> tuple[Any, int]:
        """Ask for a range."""
        request = urllib.request.Request(self._url, headers={"Range": _range(start, length)})  # noqa: S310 - the scheme is checked
        try:
            answer = urllib.request.urlopen(request, timeout=_TIMEOUT, context=self._context)  # noqa: S310
        except urllib.error.HTTPError as exc:
            exc.close()
            if exc.code == 404:
                raise NoPackError(f"there is no {self.name}") from None
            if exc.code in _PASSING:
                raise PassingError("the server answers %d" % exc.code) from None
            raise PackUnusableError("%s is refused: the server answers %d" % (self.name, exc.code)) from None
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
        if answer.status != 206 or not total.isdigit():
            answer.close()
            raise PackUnusableError(f"{self.name}: the server does not answer ranges")
        return answer, int(total)


class S3Ranges(Ranges):
    """An object of S3, by boto3, which Metaflow installs on every node.

    Args:
        client: Of boto3, safe for threads.
        bucket: Its bucket.
        key: Its key.
    """

    def __init__(self, client: Any, bucket: str, key: str) -> None:
        Ranges.__init__(self, f"s3://{bucket}/{key}")
        self._client = client
        self._bucket = bucket
        self._key = key

    def open(self, start: int, length: int) -> tuple[Any, int]:
        """Ask for a range."""
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key, Range=_range(start, length))
        except Exception as exc:
            answer = getattr(exc, "response", None)
            if not isinstance(answer, dict):
                if "Credentials" in type(exc).__name__ or "Profile" in type(exc).__name__:
                    raise HydrationError(f"{self.name} cannot be read: {exc}") from None
                raise
            error = answer.get("Error", {}).get("Code", "")
            code = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if error in {"NoSuchKey", "404", "NotFound"}:
                raise NoPackError(f"there is no {self.name}") from None
            if code in _PASSING or error in {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable"}:
                raise PassingError("S3 answers %s" % (error or code)) from None
            raise PackUnusableError(f"{self.name} is refused: S3 answers {error or code}") from None
        total = str(answer.get("ContentRange", "")).rpartition("/")[2]
        return answer["Body"], int(total) if total.isdigit() else int(answer["ContentLength"])


class Root:
    """A cache's root on a bare node: gives the objects below it.

    Args:
        address: A directory, `file://`, `http(s)://` or `s3://bucket/prefix`.
        endpoint_url: Of a private S3 server.

    Raises:
        HydrationError: It is of another kind, or boto3 is missing.
    """

    def __init__(self, address: str, endpoint_url: str | None = None) -> None:
        self.address = address.rstrip("/")
        self.endpoint_url = endpoint_url
        self._client = _s3_client(endpoint_url) if address.startswith("s3://") else None
        if self._client is None and "://" in address and not address.startswith(("http://", "https://", "file://")):
            raise HydrationError(
                f"the cache's root {address} cannot be read here: expected a directory, s3:// or http(s)://"
            )

    def object(self, key: str) -> Ranges:
        """Return an object by its key relative to the root."""
        if self._client is not None:
            bucket, _slash, prefix = self.address[len("s3://") :].partition("/")
            return S3Ranges(self._client, bucket, f"{prefix}/{key}" if prefix else key)
        if self.address.startswith(("http://", "https://")):
            return HTTPRanges(f"{self.address}/{key}")
        directory = self.address[len("file://") :] if self.address.startswith("file://") else self.address
        return LocalRanges(os.path.join(os.path.expanduser(directory), key))


def _range(start: int, length: int) -> str:
    return "bytes=%d" % start if start < 0 else "bytes=%d-%d" % (start, start + length - 1)


def _s3_client(endpoint_url: str | None) -> Any:
    try:
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415 - only where the cache is on S3
        from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
    except ImportError:
        raise HydrationError(
            "boto3 is missing in this image and the cache is on S3; install boto3, or unset"
            " METAFLOW_SKIP_INSTALL_DEPENDENCIES"
        ) from None
    config = Config(
        retries={"max_attempts": 1, "mode": "standard"},
        max_pool_connections=16,
        connect_timeout=10,
        read_timeout=_TIMEOUT,
        s3={"addressing_style": "path"} if endpoint_url else None,
    )
    return boto3.client("s3", endpoint_url=endpoint_url or None, config=config)
