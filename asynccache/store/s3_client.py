"""One S3 client for a store's life, and the one place where its requests are paced, repeated and counted.

botocore's own retries are off: a second mechanism below this one would multiply tries and hide refusals.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig  # type: ignore[import-untyped]
from aiobotocore.session import AioSession  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ProfileNotFound  # type: ignore[import-untyped]
from botocore.loaders import create_loader  # type: ignore[import-untyped]

from asynccache.errors import ConfigurationError
from asynccache.model.dataclass import dataclass
from asynccache.model.root import StoreRoot
from asynccache.runtime.retry import Backoff
from asynccache.runtime.threads import ThreadRoom
from asynccache.store.base import BytesMoved
from asynccache.store.open import StoreOptions
from asynccache.store.pace import shared_pace
from asynccache.store.s3_errors import FAILURES, CallFailedError, is_throttled, is_transient, retry_after

T = TypeVar("T")
Parameters = Mapping[str, Any] | Callable[[], Mapping[str, Any]]
_THROTTLED_SECONDS: Final = 120.0  # for which a request is repeated that the store refuses because of its rate
_SLOWEST_BYTES: Final = 64 << 10  # per second; a body that takes longer counts as stalled


@cache
def _loader(data_path: str | None) -> Any:
    """Return a reader of the service descriptions that has read the large ones; kept, as they take 0.1 s to parse."""
    loader = create_loader(data_path)
    for name in ("service-2", "endpoint-rule-set-1", "paginators-1"):
        loader.load_service_model("s3", name)
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)
    return loader


class S3Client:
    """Makes requests to one bucket.

    Args:
        root: Which bucket, and the server's address where it is not Amazon's; that implies path-style addressing.
        options: How to reach it.

    Attributes:
        requests: Tries sent, so far.
        retries: Of these, how many repeated another one.
        throttled: Refusals because of the rate.
    """

    def __init__(self, root: StoreRoot, options: StoreOptions) -> None:
        self.bucket = root.container
        self._custom = root.endpoint
        self.requests = 0
        self.retries = 0
        self.throttled = 0
        self._options = options
        self._backoff = Backoff()
        self._slots = asyncio.Semaphore(options.connections)
        self._stack = AsyncExitStack()
        self._client: Any = None

    async def open(self) -> None:
        """Make the client; nothing is sent.

        Raises:
            ConfigurationError: A setting that cannot be.
        """
        options = self._options
        session = AioSession(profile=options.profile)
        config = AioConfig(
            max_pool_connections=options.connections,
            connect_timeout=options.connect_timeout,
            read_timeout=options.read_timeout,
            retries={"total_max_attempts": 1, "mode": "standard"},
            # digests are ours to give and to check; botocore's would cost a second pass over every body
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"payload_signing_enabled": False, "addressing_style": "path" if self._custom else "auto"},
            user_agent_extra="asynccache",
        )
        try:
            loader = await asyncio.to_thread(_loader, session.get_config_variable("data_path"))
            session.register_component("data_loader", loader)
            region = options.region or session.get_config_variable("region")
            self._client = await self._stack.enter_async_context(
                session.create_client(
                    "s3",
                    region_name=region or ("us-east-1" if self._custom else None),
                    endpoint_url=self._custom,
                    config=config,
                )
            )
        except ProfileNotFound as exc:
            raise ConfigurationError(
                f"the AWS profile {options.profile or os.environ.get('AWS_PROFILE')!r} does not exist",
                hint="correct s3_profile or AWS_PROFILE; `aws configure list-profiles` shows them",
            ) from exc
        except (BotoCoreError, ValueError) as exc:
            raise ConfigurationError(
                f"the S3 client for bucket {self.bucket} cannot be made ({type(exc).__name__})",
                hint="check s3_endpoint_url, s3_profile and s3_region",
            ) from exc
        self._pace = shared_pace(f"{self._client.meta.endpoint_url} {self.bucket}")

    async def close(self) -> None:
        """Close all connections."""
        await self._stack.aclose()

    @property
    def endpoint(self) -> str:
        """Host and port that is asked, without credentials."""
        if self._client is None:
            return "S3"
        parts = urlsplit(str(self._client.meta.endpoint_url))
        return parts.netloc.rpartition("@")[2]

    @property
    def is_aws(self) -> bool:
        """Whether this is Amazon's own service."""
        host = self.endpoint.rsplit(":", 1)[0]
        return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))

    async def call(
        self,
        operation: str,
        parameters: Parameters,
        *,
        receive: Callable[[Any], Awaitable[T]] | None = None,
        body_bytes: int = 0,
    ) -> Any:
        """Make a request, again where that may help.

        Args:
            operation: Method of the client, such as `put_object`.
            parameters: Its parameters without the bucket, or a function that makes them for each try.
            receive: Reads the body of the answer; part of the try.
            body_bytes: Size of what moves either way, for the time limit.

        Returns:
            The answer, or what `receive` made of it.

        Raises:
            CallFailedError: It failed for good.
        """
        failures, refusals, refused_since = 0, 0, 0.0
        method = getattr(self._client, operation)
        while True:
            await self._pace.wait()
            if failures or refusals:
                self.retries += 1
            try:
                # the slot is held while the body moves, as the connection is
                async with self._slots, asyncio.timeout(self._limit(body_bytes)):
                    self.requests += 1
                    now = parameters() if callable(parameters) else parameters
                    answer = await method(Bucket=self.bucket, **now)
                    result = answer if receive is None else await receive(answer)
            except FAILURES as exc:
                if is_throttled(exc):
                    self.throttled += 1
                    refused_since = refused_since or time.monotonic()
                    refusals += 1
                    asked = retry_after(exc) or 0.0
                    if time.monotonic() + asked - refused_since > _THROTTLED_SECONDS:
                        raise CallFailedError(exc) from exc
                    self._pace.refused(asked)
                elif is_transient(exc):
                    failures += 1
                    if failures >= self._options.attempts:
                        raise CallFailedError(exc) from exc
                else:
                    raise CallFailedError(exc) from exc
                await asyncio.sleep(self._backoff.wait(failures + refusals))
            else:
                self._pace.succeeded()
                return result

    def _limit(self, body_bytes: int) -> float:
        options = self._options
        return options.connect_timeout + options.read_timeout + body_bytes / _SLOWEST_BYTES


@dataclass(slots=True, kw_only=True)
class Transfer:
    """Brings one object from or to one file.

    Attributes:
        client: Makes the requests.
        threads: Where the file is read or written.
        key: Key in the bucket.
        path: The file.
        part_bytes: Size of a part, at least.
        at_once: Parts under way.
        moved: Told of progress.
    """

    client: S3Client
    threads: ThreadRoom
    key: str
    path: Path
    part_bytes: int
    at_once: int
    moved: BytesMoved | None
