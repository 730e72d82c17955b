"""Credentials of the store's own client: of Metaflow's `DEFAULT_AWS_CLIENT_PROVIDER`, or as AWS finds them."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiobotocore.credentials import AioCredentials  # type: ignore[import-untyped]

from asynccache.errors import ConfigurationError
from asynccache.node.aws_client import credentials_of, provided_client
from asynccache.runtime.late_loop import in_thread


class ProvidedCredentials(AioCredentials):  # type: ignore[misc]
    """Credentials of a boto3 client, as they are when a request is signed.

    Args:
        source: botocore's credentials; renewing them blocks, and may use the network.
    """

    def __init__(self, source: Any) -> None:
        now = source.get_frozen_credentials()
        super().__init__(now.access_key, now.secret_key, now.token, method="metaflow")
        self._source = source

    async def get_frozen_credentials(self) -> Any:
        """Return what signs the next request."""
        return await in_thread(self._source.get_frozen_credentials)


class ProviderOfMetaflow:
    """Provides a botocore session with the credentials of a plugin's client.

    Args:
        name: Name of the plugin.
        limit: Seconds that it may take.
    """

    def __init__(self, name: str, limit: float) -> None:
        self._name = name
        self._limit = limit

    async def load_credentials(self) -> ProvidedCredentials:
        """Return them.

        Raises:
            ConfigurationError: There is no such plugin, its client has no credentials, or it takes too long.
        """
        try:
            async with asyncio.timeout(self._limit):
                return await in_thread(self._load)
        except TimeoutError as exc:
            raise ConfigurationError(
                f"the AWS client provider {self._name!r} gave no credentials within {self._limit:g} seconds",
                hint="check METAFLOW_DEFAULT_AWS_CLIENT_PROVIDER, and that what it asks can be reached",
            ) from exc

    def _load(self) -> ProvidedCredentials:
        return ProvidedCredentials(credentials_of(provided_client(self._name, {})))


_SOURCES: Final = {  # botocore's names for the origin of credentials
    "env": "the access key in the environment (AWS_ACCESS_KEY_ID)",
    "shared-credentials-file": "the access key of the AWS profile {profile}",
    "config-file": "the access key of the AWS profile {profile}",
    "assume-role": "the role that the AWS profile {profile} names",
    "assume-role-with-web-identity": "the role of a web identity (AWS_WEB_IDENTITY_TOKEN_FILE)",
    "sso": "the single sign-on of the AWS profile {profile}",
    "login": "the log-in of the AWS profile {profile}",
    "custom-process": "what the program of the AWS profile {profile} gives",
    "container-role": "the role of this container",
    "iam-role": "the role of this instance",
    "metaflow": "what Metaflow's AWS client provider gives",
}


class NotedProvider:
    """Provides a session with what another provider finds, and can describe it for people.

    Args:
        provider: A provider of botocore's, or one of ours.
        profile: The AWS profile in use.
    """

    def __init__(self, provider: Any, profile: str) -> None:
        self._provider = provider
        self._profile = profile
        self._found: Any = None

    @property
    def kind(self) -> str | None:
        """What was found, never a secret; None if nothing."""
        if self._found is None:
            return None
        source = str(self._found.method)
        return _SOURCES.get(source, f"credentials of the kind {source}").format(profile=self._profile)

    async def load_credentials(self) -> Any:
        """Return what the provider finds."""
        self._found = await self._provider.load_credentials()
        return self._found
