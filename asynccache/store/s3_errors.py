"""What a failed S3 request means: try again, slow down, lost a condition, or one sentence for the user.

Codes are those of the S3 API reference ("Error responses") and of the servers that speak it. Server messages are not
passed on, since they may repeat parts of the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own, not the built-in one
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
    SSOError,
    TokenRetrievalError,
)
from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

from asynccache.errors import (
    AsyncCacheError,
    ConfigurationError,
    IntegrityError,
    StoreError,
    StoreNotFoundError,
    StoreRefusedError,
)
from asynccache.node.patience import TRANSIENT_STATUSES, parse_retry_after
from asynccache.store.base import ALWAYS, Condition, not_found
from asynccache.store.requests import CallFailedError, Verdict

FAILURES: Final = (BotoCoreError, ClientError, ResponseParserError, aiohttp.ClientError, TimeoutError, OSError)
"""Everything that the client raises when a request does not succeed."""

_NO_ANSWER: Final = (HTTPClientError, ConnectionError, IncompleteReadError, aiohttp.ClientError, TimeoutError, OSError)
_THROTTLED: Final = frozenset(
    {
        "SlowDown", "SlowDownRead", "SlowDownWrite", "ThrottlingException", "Throttling", "ThrottledException",
        "RequestThrottled", "RequestThrottledException", "RequestLimitExceeded", "TooManyRequests",
        "TooManyRequestsException", "BandwidthLimitExceeded", "429",
    }
)  # fmt: skip
_TRANSIENT: Final = frozenset(
    {
        "InternalError", "InternalFailure", "ServiceUnavailable", "RequestTimeout", "RequestTimeoutException",
        "OperationAborted", "ConditionalRequestConflict", "IncompleteBody", "500", "502", "503", "504", "408",
    }
)  # fmt: skip
_ELSEWHERE: Final = frozenset({302, 303})  # S3 redirects to another region with 301 and 307: something in between did
_BODILESS: Final = frozenset({"HeadObject", "HeadBucket"})
_DAMAGED: Final = frozenset(
    {
        "BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "InvalidDigest",
        "ContentChecksumMismatch",
    }
)  # fmt: skip
_LOST: Final = frozenset({"PreconditionFailed", "412"})
_ABSENT: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_WRONG_KEYS: Final = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthFailure", "InvalidSecurity"})
_EXPIRED: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "RequestExpired"}
)
_DENIED: Final = frozenset(
    {"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "AccountProblem", "UnauthorizedAccess"}
)
_REGION: Final = frozenset(
    {"PermanentRedirect", "TemporaryRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraint"}
)
_BEYOND: Final = frozenset({"InvalidRange", "416"})
_UNSUPPORTED: Final = frozenset({"NotImplemented", "501", "MethodNotAllowed", "405"})


class S3FailedError(CallFailedError):
    """A request to S3 that failed permanently."""

    def __init__(self, cause: BaseException) -> None:
        code = code_of(cause)
        super().__init__(
            cause,
            code,
            lost=code in _LOST,
            absent=code in _ABSENT,
            beyond=code in _BEYOND,
            gone=code == "NoSuchUpload",
            unsupported=code in _UNSUPPORTED,
        )


def judged(exc: BaseException) -> Verdict:
    """Return what a failure means for the next try."""
    if is_throttled(exc):
        return Verdict("throttled", answered=True, retry_after=retry_after(exc))
    return Verdict("transient" if is_transient(exc) else "final", answered=isinstance(exc, ClientError))


def field_of(answer: Mapping[str, Any], name: str, endpoint: str) -> Any:
    """Return what an answer must contain.

    Raises:
        StoreError: It does not: something other than an S3 server has answered.
    """
    if name not in answer:
        raise StoreError(
            f"{endpoint} answered something else than an S3 server does (no {name})",
            hint="check s3_endpoint_url, and proxies on the way",
        )
    return answer[name]


def code_of(exc: BaseException) -> str:
    """Return the error code of an answer; the HTTP status where it has none; empty without an answer."""
    if not isinstance(exc, ClientError):
        return ""
    code = str(exc.response.get("Error", {}).get("Code") or "")
    status = status_of(exc)
    if status == 412:
        return "PreconditionFailed"
    if status == 429:
        return "429"
    return code or str(status)


def status_of(exc: BaseException) -> int:
    """Return the HTTP status of a failed request; 0 without an answer."""
    if not isinstance(exc, ClientError):
        return 0
    return int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def is_throttled(exc: BaseException) -> bool:
    """Return whether the store asks to slow down.

    A 503 to a HEAD counts as that: it has no body to say SlowDown, which is what S3 usually means.
    """
    code = code_of(exc)
    return code in _THROTTLED or (code == "503" and isinstance(exc, ClientError) and exc.operation_name in _BODILESS)


def is_transient(exc: BaseException) -> bool:
    """Return whether the same request may succeed if it is retried."""
    if isinstance(exc, ClientError):
        return code_of(exc) in _TRANSIENT or status_of(exc) in TRANSIENT_STATUSES | _ELSEWHERE
    if isinstance(exc, SSLError):
        return False
    return isinstance(exc, _NO_ANSWER)


def retry_after(exc: BaseException) -> float | None:
    """Return the seconds that a Retry-After header asks for; None if there is none."""
    if not isinstance(exc, ClientError):
        return None
    return parse_retry_after(exc.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after"))


def store_error(
    failure: CallFailedError, address: str, key: str, endpoint: str, condition: Condition = ALWAYS
) -> AsyncCacheError:
    """Return the error for a failed request.

    Args:
        failure: The failure.
        address: The store, without credentials.
        key: The object; empty for the store as a whole.
        endpoint: Host of the server, without credentials.
        condition: Condition of the request.
    """
    code, cause = failure.code, failure.cause
    what = f"{key} in {address}" if key else address
    if not isinstance(cause, ClientError):
        return _without_answer(cause, what, address, endpoint)
    if failure.lost or (failure.absent and condition.if_match is not None):
        return condition.lost(address, key)
    if code == "NoSuchBucket":
        return StoreNotFoundError(
            f"the bucket of {address} does not exist at {endpoint}", hint="create it, or correct the store's address"
        )
    if failure.absent:
        return not_found(address, key)
    if code in _DAMAGED:
        return IntegrityError(
            f"{key} arrived damaged in {address}", hint="the bytes differ from their digest; make the file again"
        )
    if code in _EXPIRED:
        return StoreRefusedError(f"the credentials for {address} have expired", hint="log in again and repeat")
    if code in _WRONG_KEYS:
        return StoreRefusedError(
            f"{endpoint} does not accept the credentials for {address} ({code})",
            hint="check the access key and secret, or set s3_profile",
        )
    if code in _DENIED:
        return StoreRefusedError(
            f"access to {what} is denied ({code})",
            hint="the credentials need s3:ListBucket, s3:GetObject, s3:PutObject there, s3:DeleteObject to clean",
        )
    if code in _REGION:
        return StoreRefusedError(
            f"{address} is in another region ({code})", hint="set s3_region to the bucket's region"
        )
    if code == "RequestTimeTooSkewed":
        return StoreRefusedError(
            f"{endpoint} refuses requests because this machine's clock is wrong", hint="set the clock"
        )
    if is_throttled(cause):
        return StoreError(
            f"{endpoint} still answers {code} after many tries", hint="run again later, or with fewer connections"
        )
    if status_of(cause) == 400 and code in {"400", "Bad Request"}:
        return StoreRefusedError(
            f"{endpoint} refuses a request for {what} (status 400)",
            hint="the credentials may have expired, or s3_region may be wrong",
        )
    refused = failure.unsupported or 400 <= status_of(cause) < 500
    return (StoreRefusedError if refused else StoreError)(
        f"{endpoint} cannot serve {what} ({cause.operation_name}: {code}, status {status_of(cause)})",
        hint="run again later; if it persists, ask the operator of the store",
    )


def _without_answer(cause: BaseException, what: str, address: str, endpoint: str) -> AsyncCacheError:
    if isinstance(cause, NoCredentialsError | PartialCredentialsError):
        return StoreRefusedError(
            f"no AWS credentials were found for {address}",
            hint="set AWS_PROFILE or s3_profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if isinstance(cause, CredentialRetrievalError | SSOError | TokenRetrievalError):
        return StoreRefusedError(
            f"the AWS credentials for {address} could not be obtained ({type(cause).__name__})",
            hint="log in again (`aws sso login`) or choose another s3_profile",
        )
    if isinstance(cause, SSLError):
        return StoreRefusedError(
            f"the certificate of {endpoint} is not trusted", hint="set AWS_CA_BUNDLE to the authority's certificate"
        )
    if isinstance(cause, _NO_ANSWER):
        return StoreError(
            f"{endpoint} did not answer a request for {what} ({type(cause).__name__})",
            hint="check s3_endpoint_url and the network",
        )
    if isinstance(cause, ResponseParserError):
        return StoreError(
            f"{endpoint} answered something else than an S3 server does",
            hint="check s3_endpoint_url, and proxies on the way",
        )
    return ConfigurationError(f"{address} cannot be opened ({type(cause).__name__})", hint="check the s3_* settings")
