"""Reading ranges of one object: a local file, HTTP, or S3, repeated where a failure may pass."""

from __future__ import annotations

import http.client
import os
import random
import ssl
import time
import urllib.error
import urllib.request
from typing import Any, Callable, Iterator

from asynccache.boot.errors import BootError, NoPackError, PackUnusableError

PATIENCE = 60.0  # seconds without progress after which an object is given up
_PIECE = 1 << 20
_TIMEOUT = 30.0
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))


class PassingError(Exception):
    """A failure that may pass: a busy server, a lost connection."""


class Ranges:
    """One object.

    Attributes:
        name: For messages; without credentials.
        requests: How many were made.
        received: Bytes.
        streams: How many ranges are worth reading at once.
    """

    streams = 8

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests = 0
        self.received = 0
        self.say: Callable[[str], None] = _say_nothing

    def open(self, start: int, length: int) -> tuple[Any, int]:
        """Return (something to `read` and `close`, size of the whole object); a negative start counts from the end.

        Raises:
            NoPackError: There is no object.
            PassingError: To be tried again.
            BootError: Refused.
        """
        raise NotImplementedError

    def tail(self, length: int) -> tuple[bytes, int]:
        """Return the last bytes of the object, and its size."""
        size = [0]

        def once() -> bytes:
            stream, size[0] = self.open(-length, length)
            try:
                wanted = min(length, size[0])
                return self._exactly(stream, wanted)
            finally:
                stream.close()

        return self._repeated(once), size[0]

    def read(self, start: int, length: int) -> bytes:
        """Return one range."""
        return b"".join(self.stream(start, length))

    def stream(self, start: int, length: int) -> Iterator[bytes]:
        """Yield one range in pieces; after a failure it goes on where it was."""
        end = start + length
        while start < end:

            def begin(at: int = start) -> Any:
                return self.open(at, end - at)[0]

            source = self._repeated(begin)
            try:
                while start < end:
                    piece = source.read(min(_PIECE, end - start))
                    if not piece:
                        raise PassingError("the answer ended early")  # noqa: TRY301 - as any failure of reading
                    start += len(piece)
                    self.received += len(piece)
                    yield piece
            except (OSError, http.client.HTTPException, PassingError) as exc:
                self._pause(exc, start, end)
            except Exception as exc:  # boto3 brings the errors of its own HTTP library
                if not _is_transport(exc):
                    raise
                self._pause(exc, start, end)
            finally:
                source.close()

    def _exactly(self, stream: Any, length: int) -> bytes:
        parts, missing = [], length
        while missing:
            piece = stream.read(missing)
            if not piece:
                raise PassingError("the answer ended early")
            parts.append(piece)
            missing -= len(piece)
            self.received += len(piece)
        return b"".join(parts)

    _stalls = 0
    _stalled_at = -1

    def _pause(self, exc: BaseException, at: int, end: int) -> None:
        """Wait before going on after a failure in the middle; give up when it fails again and again at one place."""
        self._stalls = self._stalls + 1 if at == self._stalled_at else 0
        self._stalled_at = at
        if self._stalls > 8:
            raise PackUnusableError("%s cannot be read at byte %d of %d (%s)" % (self.name, at, end, exc)) from exc
        time.sleep(min(5.0, 0.1 * 2**self._stalls))

    def _repeated(self, once: Callable[[], Any]) -> Any:
        deadline, pause = time.monotonic() + PATIENCE, 0.2
        while True:
            try:
                self.requests += 1
                return once()
            except (PassingError, OSError, http.client.HTTPException) as exc:
                failure: BaseException = exc
            except BootError:
                raise
            except Exception as exc:  # boto3 brings the errors of its own HTTP library
                if not _is_transport(exc):
                    raise
                failure = exc
            if time.monotonic() + pause > deadline:
                raise PackUnusableError("%s cannot be read for %d seconds (%s)" % (self.name, PATIENCE, failure))
            self.say(f"{self.name}: {failure}; trying again")
            time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - spreads the tries of many nodes
            pause = min(5.0, pause * 2)


def _say_nothing(text: str) -> None:
    del text


def _is_transport(exc: BaseException) -> bool:
    return type(exc).__module__.split(".")[0] in {"botocore", "urllib3", "ssl"}


class LocalRanges(Ranges):
    """A file."""

    streams = 4

    def __init__(self, path: str) -> None:
        Ranges.__init__(self, path)
        self._path = path

    def open(self, start: int, length: int) -> tuple[Any, int]:
        """Open the file at a place."""
        del length
        try:
            file = open(self._path, "rb")  # noqa: SIM115 - the caller closes it
        except FileNotFoundError:
            raise NoPackError(f"there is no {self.name}") from None
        except OSError as exc:
            raise PackUnusableError(f"{self.name} cannot be read ({exc.strerror})") from exc
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size + start) if start < 0 else start)
        return file, size


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
        wanted = "bytes=%d" % start if start < 0 else "bytes=%d-%d" % (start, start + length - 1)
        request = urllib.request.Request(self._url, headers={"Range": wanted})  # noqa: S310 - the scheme is checked
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
        wanted = "bytes=%d" % start if start < 0 else "bytes=%d-%d" % (start, start + length - 1)
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key, Range=wanted)
        except Exception as exc:
            answer = getattr(exc, "response", None)
            if not isinstance(answer, dict):
                if "Credentials" in type(exc).__name__ or "Profile" in type(exc).__name__:
                    raise BootError(f"{self.name} cannot be read: {exc}") from None
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
        BootError: It is of another kind, or boto3 is missing.
    """

    def __init__(self, address: str, endpoint_url: str | None = None) -> None:
        self.address = address.rstrip("/")
        self.endpoint_url = endpoint_url
        self._client = _s3_client(endpoint_url) if address.startswith("s3://") else None
        if self._client is None and "://" in address and not address.startswith(("http://", "https://", "file://")):
            raise BootError(
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


def _s3_client(endpoint_url: str | None) -> Any:
    try:
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415 - only where the cache is on S3
        from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
    except ImportError:
        raise BootError(
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
