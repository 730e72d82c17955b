"""One S3 client for the lifetime of a store."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import cache
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig  # type: ignore[import-untyped]
from aiobotocore.session import AioSession  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ProfileNotFound  # type: ignore[import-untyped]
from botocore.loaders import create_loader  # type: ignore[import-untyped]

from asynccache.errors import ConfigurationError
from asynccache.model.root import StoreRoot
from asynccache.node.certificates import verified_with
from asynccache.runtime.late_loop import in_thread
from asynccache.store.options import StoreOptions
from asynccache.store.requests import Requests
from asynccache.store.s3_credentials import NotedProvider, ProviderOfMetaflow
from asynccache.store.s3_errors import FAILURES, S3FailedError, field_of, judged
from asynccache.store.transfer import Reading, Wanted

T = TypeVar("T")
Parameters = Mapping[str, Any] | Callable[[], Mapping[str, Any]]
_PUTTING: Final = {"put_object", "create_multipart_upload", "copy_object"}


@cache
def _loader(data_path: str | None) -> Any:
    """Return a loader of service descriptions that has read the large ones; cached, as they take 0.1 s to parse."""
    loader = create_loader(data_path)
    for name in ("service-2", "endpoint-rule-set-1", "paginators-1"):
        loader.load_service_model("s3", name)
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)
    return loader


class S3Client(Requests):
    """Makes requests to one bucket.

    Args:
        root: Which bucket, and the server's address where it is not Amazon's; that implies path-style addressing.
        options: How to reach it.
    """

    def __init__(self, root: StoreRoot, options: StoreOptions) -> None:
        super().__init__(options)
        self.bucket = root.container
        self._custom = root.endpoint
        self._kind = root.kind
        self._stack = AsyncExitStack()
        self._client: Any = None
        self._provider: NotedProvider | None = None

    async def open(self) -> None:
        """Create the client; nothing is sent.

        Raises:
            ConfigurationError: A setting is invalid.
        """
        options, settings = self._options, self._options.settings
        session = AioSession(profile=settings.s3_profile)
        config = AioConfig(
            max_pool_connections=options.connections,
            connect_timeout=options.connect_timeout,
            read_timeout=options.read_timeout,
            retries={"total_max_attempts": 1, "mode": "standard"},
            # we compute and check digests; botocore's would cost a second pass over every body
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"payload_signing_enabled": False, "addressing_style": "path" if self._custom else "auto"},
            user_agent_extra="asynccache",
        )
        try:
            if (named := options.provider(self._kind)) is not None:
                provider = ProviderOfMetaflow(named, options.connect_timeout + options.read_timeout)
            else:
                provider = session.get_component("credential_provider")
            self._provider = NotedProvider(provider, session.profile or "default")
            session.register_component("credential_provider", self._provider)
            loader = await in_thread(_loader, session.get_config_variable("data_path"))
            session.register_component("data_loader", loader)
            region = settings.s3_region or session.get_config_variable("region")
            self._client = await self._stack.enter_async_context(
                session.create_client(
                    "s3",
                    region_name=region or ("us-east-1" if self._custom else None),
                    endpoint_url=self._custom,
                    verify=verified_with(settings.s3_verify_certificate),
                    config=config,
                )
            )
        except ProfileNotFound as exc:
            raise ConfigurationError(
                f"the AWS profile {settings.s3_profile or os.environ.get('AWS_PROFILE')!r} does not exist",
                hint="correct s3_profile or AWS_PROFILE; `aws configure list-profiles` shows them",
            ) from exc
        except (BotoCoreError, ValueError) as exc:
            raise ConfigurationError(
                f"the S3 client for bucket {self.bucket} cannot be made ({type(exc).__name__})",
                hint="check s3_endpoint_url, s3_profile and s3_region",
            ) from exc
        self._known_as(f"{self._client.meta.endpoint_url} {self.bucket}")

    async def close(self) -> None:
        """Close all connections."""
        await self._stack.aclose()

    @property
    def endpoint(self) -> str:
        """Host and port of the service, without credentials."""
        if self._client is None:
            return "S3"
        parts = urlsplit(str(self._client.meta.endpoint_url))
        return parts.netloc.rpartition("@")[2]

    @property
    def asked_with(self) -> str | None:
        """Which credentials sign requests, as text for people; None if there are none."""
        return None if self._provider is None else self._provider.kind

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
        """Make a request, with retries where they may help.

        Args:
            operation: Method of the client, such as `put_object`.
            parameters: Its parameters without the bucket, or a function that returns them for each try.
            receive: Reads the body of the answer; part of the try.
            body_bytes: Size of the body in either direction, for the time limit.

        Returns:
            The answer, or what `receive` returned.

        Raises:
            S3FailedError: It failed permanently.
        """
        method = getattr(self._client, operation)
        encryption = self._options.settings.s3_server_side_encryption if operation in _PUTTING else None
        encrypted = {} if encryption is None else {"ServerSideEncryption": encryption}

        async def attempt() -> Any:
            now = parameters() if callable(parameters) else parameters
            answer = await method(Bucket=self.bucket, **now, **encrypted)
            return answer if receive is None else await receive(answer)

        try:
            return await self._repeat(attempt, FAILURES, judged, body_bytes)
        except FAILURES as exc:
            raise S3FailedError(exc) from exc

    async def read(
        self, key: str, wanted: Callable[[], Wanted], receive: Callable[[Reading], Awaitable[T]], body_bytes: int
    ) -> T:
        """See `ObjectClient.read`."""

        def parameters() -> dict[str, Any]:
            now = wanted()
            asked: dict[str, Any] = {"Key": key}
            if now.etag is not None:
                asked["IfMatch"] = now.etag
            if (header := now.header()) is not None:
                asked["Range"] = header
            return asked

        async def taken(answer: Any) -> T:
            async with answer["Body"] as body:
                length = int(field_of(answer, "ContentLength", self.endpoint))
                return await receive(Reading(body, length, answer.get("ContentRange"), answer.get("ETag")))

        found: T = await self.call("get_object", parameters, receive=taken, body_bytes=body_bytes)
        return found
