"""Azure Blob Storage as a bare node reads it. Python 3.7, standard library; azure-identity where a token is needed."""

from __future__ import annotations

import os
from typing import Any, Mapping
from urllib.parse import quote

from asynccache.boot.ranges import AccountRanges, HTTPRanges, Service
from asynccache.errors import AsyncCacheError, HydrationError
from asynccache.node.azure_account import AzureAccount, azure_account, default_endpoint


class AzureRanges(AccountRanges):
    """An object of Azure Blob Storage.

    Args:
        account: The credentials.
        container: Its container.
        key: Its key.
    """

    def __init__(self, account: AzureAccount, container: str, key: str) -> None:
        url = "%s/%s/%s" % (account.endpoint, quote(container), quote(key))
        AccountRanges.__init__(self, account, url, f"az://{container}/{key}")

    def open(self, start: int, length: int) -> tuple[Any, int]:
        """Request a range; the service has none that count from the end, so the size is requested first."""
        if start < 0:
            with self._ask("HEAD", {}) as answer:
                size = int(answer.headers["Content-Length"])
            start, length = max(size + start, 0), min(-start, size)
        return HTTPRanges.open(self, start, length)


class AzureService(Service):
    """See `Service`."""

    def __init__(self, address: str, endpoint_url: str | None, provider: str | None, said: Mapping[str, Any]) -> None:
        Service.__init__(self, address, endpoint_url, provider, said)
        endpoint = os.environ.get("METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT") or endpoint_url or default_endpoint()
        if not endpoint:
            raise HydrationError(
                f"nothing says which account of Azure holds {address}: set METAFLOW_AZURE_STORAGE_BLOB_SERVICE_ENDPOINT"
            )
        try:
            self._account = azure_account(endpoint, provider=provider)
        except AsyncCacheError as exc:
            raise HydrationError(f"{address} cannot be read: {exc}") from None

    def object(self, container: str, key: str) -> AzureRanges:
        """See `Service.object`."""
        return AzureRanges(self._account, container, key)

    def variables(self) -> dict[str, str]:
        """See `Service.variables`."""
        return {"ASYNCCACHE_AZURE_ENDPOINT": self._account.endpoint, **self._account.authorization.variables()}
