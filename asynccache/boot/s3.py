"""S3 as a bare node reads it. Python 3.7, standard library, boto3."""

from __future__ import annotations

import os
from typing import Any, Mapping

from asynccache.boot.ranges import TIMEOUT, Service, byte_range
from asynccache.errors import HydrationError
from asynccache.node.aws_client import RETRY_WORDS, credentials_of, is_retry_config, provided_client, tries_of
from asynccache.node.certificates import verified_with
from asynccache.node.errors import NoPackError, PackUnusableError
from asynccache.node.json_text import read_json
from asynccache.node.patience import TRANSIENT_STATUSES, Patience, parse_retry_after
from asynccache.node.ranges import PassingError, Ranges
from asynccache.node.store_kinds import KINDS

_LATER = frozenset(("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable"))


class S3Ranges(Ranges):
    """An object of S3, by boto3, which Metaflow installs on every node.

    Args:
        client: A boto3 client, which is thread-safe.
        bucket: Its bucket.
        key: Its key.
    """

    def __init__(self, client: Any, bucket: str, key: str) -> None:
        Ranges.__init__(self, f"s3://{bucket}/{key}")
        self._client = client
        self._bucket = bucket
        self._key = key

    def open(self, start: int, length: int) -> tuple[Any, int]:
        """Request a range."""
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key, Range=byte_range(start, length))
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
            if code in TRANSIENT_STATUSES or error in _LATER:
                headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
                asked = parse_retry_after(headers.get("retry-after"))
                throttled = error == "SlowDown" or code == 429 or (code == 503 and asked is not None)
                raise PassingError("S3 answers %s" % (error or code), throttled, asked) from None
            raise PackUnusableError(f"{self.name} is refused: S3 answers {error or code}") from None
        total = str(answer.get("ContentRange", "")).rpartition("/")[2]
        return answer["Body"], int(total) if total.isdigit() else int(answer["ContentLength"])


class S3Service(Service):
    """See `Service`; variables on the node take precedence for the number of tries."""

    def __init__(self, address: str, endpoint_url: str | None, provider: str | None, said: Mapping[str, Any]) -> None:
        Service.__init__(self, address, endpoint_url, provider, said)
        self._tries = _tries() or said.get("tries")
        self._client = _s3_client(endpoint_url, provider)

    def object(self, container: str, key: str) -> S3Ranges:
        """See `Service.object`."""
        ranges = S3Ranges(self._client, container, key)
        if self._tries:
            ranges.patience = Patience(int(self._tries), longest=ranges.patience.longest)
        return ranges

    def variables(self) -> dict[str, str]:
        """See `Service.variables`."""
        found: dict[str, str] = {}
        if self.endpoint_url:
            found["ASYNCCACHE_S3_ENDPOINT_URL"] = self.endpoint_url
        if self._tries is not None:
            found["ASYNCCACHE_S3_CLIENT_RETRY_CONFIG"] = '{"total_max_attempts": %d}' % self._tries
        if self.provider is None:
            return found
        now = credentials_of(self._client).get_frozen_credentials()
        found["ASYNCCACHE_S3_CLIENT_PROVIDER"] = KINDS["s3"].built_in
        found.update(AWS_ACCESS_KEY_ID=now.access_key, AWS_SECRET_ACCESS_KEY=now.secret_key)
        # an empty one hides the token of other credentials
        found["AWS_SESSION_TOKEN"] = now.token or ""
        return found


def _tries() -> int | None:
    """Return the number of tries in Metaflow's setting on this node; None if it is not set."""
    text = os.environ.get("METAFLOW_S3_CLIENT_RETRY_CONFIG")
    if not text:
        return None
    try:
        value = read_json(text)
    except ValueError:
        value = None
    if not isinstance(value, dict) or not is_retry_config(value):
        raise HydrationError(f"METAFLOW_S3_CLIENT_RETRY_CONFIG must be {RETRY_WORDS}. Got {text!r}.")
    return tries_of(value)


def _s3_client(endpoint_url: str | None, provider: str | None) -> Any:
    try:
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415 - only where the cache is on S3
        from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
    except ImportError:
        raise HydrationError(
            "boto3 is missing in this image and the cache is on S3; install boto3, or unset"
            " METAFLOW_SKIP_INSTALL_DEPENDENCIES"
        ) from None
    config = Config(
        retries={"max_attempts": 0, "mode": "standard"},
        max_pool_connections=16,
        connect_timeout=10,
        read_timeout=TIMEOUT,
        s3={"addressing_style": "path"} if endpoint_url else None,
    )
    verify = verified_with(os.environ.get("METAFLOW_S3_VERIFY_CERTIFICATE"))
    parameters = {"endpoint_url": endpoint_url or None, "verify": verify, "config": config}
    return boto3.client("s3", **parameters) if provider is None else provided_client(provider, parameters)
