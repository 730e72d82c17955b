"""Google Cloud Storage as a bare node reads it. Python 3.7, standard library; google-auth where it is needed."""

from __future__ import annotations

from typing import Any, Mapping
from urllib.parse import quote

from asynccache.boot.ranges import AccountRanges, Service
from asynccache.errors import AsyncCacheError, HydrationError
from asynccache.node.google_account import GoogleAccount


class GoogleRanges(AccountRanges):
    """An object of Google Cloud Storage.

    Args:
        account: The credentials.
        bucket: Its bucket.
        key: Its key.
    """

    def __init__(self, account: GoogleAccount, bucket: str, key: str) -> None:
        below = "/storage/v1/b/%s/o/%s?alt=media" % (quote(bucket, safe=""), quote(key, safe=""))
        AccountRanges.__init__(self, account, account.endpoint + "/download" + below, f"gs://{bucket}/{key}")


class GoogleService(Service):
    """See `Service`."""

    def __init__(self, address: str, endpoint_url: str | None, provider: str | None, said: Mapping[str, Any]) -> None:
        Service.__init__(self, address, endpoint_url, provider, said)
        try:
            self._account = GoogleAccount(endpoint_url, provider=provider)
        except AsyncCacheError as exc:
            raise HydrationError(f"{address} cannot be read: {exc}") from None

    def object(self, container: str, key: str) -> GoogleRanges:
        """See `Service.object`."""
        return GoogleRanges(self._account, container, key)

    def variables(self) -> dict[str, str]:
        """See `Service.variables`."""
        return {"ASYNCCACHE_GOOGLE_ENDPOINT": self.endpoint_url or "", **self._account.variables()}
