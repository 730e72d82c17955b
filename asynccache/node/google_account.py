"""Credentials for Google Cloud Storage, for the engine and for bare nodes. Python 3.7; google-auth if it is needed."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any, Mapping

from asynccache.errors import ConfigurationError, StoreRefusedError
from asynccache.node.client_provider import client_provider, provider_variable
from asynccache.node.endpoint import split_endpoint
from asynccache.node.secret_text import sendable

ENDPOINT = "https://storage.googleapis.com"
SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)
_TOKEN = "ASYNCCACHE_GOOGLE_TOKEN"  # noqa: S105 - name of a variable: the token of the process that started this one
_KINDS = {  # module of google-auth whose credentials were found -> what they are
    "google.oauth2.service_account": "a service account's key",
    "google.oauth2.credentials": "a user's login",
    "google.auth.identity_pool": "workload identity federation",
    "google.auth.compute_engine.credentials": "the machine's service account",
    "google.auth.impersonated_credentials": "an impersonated service account",
}


class GoogleAccount:
    """The service and the credentials for it.

    Args:
        endpoint: Address of a server that speaks its protocol; None for Google's own.
        environ: Variables.
        provider: Metaflow plugin that provides credentials; None for Application Default Credentials.

    Attributes:
        endpoint: Its address.

    Raises:
        ConfigurationError: The address is invalid.
    """

    def __init__(
        self, endpoint: str | None = None, environ: Mapping[str, str] = os.environ, provider: str | None = None
    ) -> None:
        self.endpoint = (endpoint or ENDPOINT).rstrip("/")
        split_endpoint(self.endpoint, "Google Cloud Storage", "google_endpoint")
        self._guard = threading.Lock()
        self._credentials: Any = None
        self._handed = environ.get(_TOKEN)
        self._provider = provider
        self._nobody = self.endpoint.startswith("http://")  # tokens are sent by https only

    @property
    def kind(self) -> str:
        """Which credentials are used, as text for people: never a secret."""
        if self._nobody:
            return "no credentials, as an emulator is asked"
        if self._handed:
            return "a token of the process that started this one"
        if self._provider:
            return "a token of Metaflow's provider " + self._provider
        known = _KINDS.get(type(self._credentials).__module__)
        return "Application Default Credentials" + (f" ({known})" if known else "")

    def waits(self) -> bool:
        """Return whether `prepare` would use the network now and must not run on an event loop."""
        known = self._nobody or self._handed or (self._credentials is not None and self._credentials.valid)
        return not known

    def prepare(self, method: str, url: str, headers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """Return the address and the headers of a request.

        Raises:
            StoreRefusedError: There are no credentials, or they are refused.
            ConfigurationError: The library that finds credentials is not installed.
        """
        del method
        if self._nobody:
            return url, dict(headers)
        return url, {**headers, "Authorization": "Bearer " + self._token()}

    def close(self) -> None:
        """No connection outlives the request that it was made for."""

    def variables(self) -> dict[str, str]:
        """Return the variables that give a child process the same authorization, if its own Python cannot obtain it."""
        return {} if self._nobody else {_TOKEN: self._token()}

    def _token(self) -> str:
        if self._handed:
            return sendable(self._handed, "the token of " + self.kind)
        with self._guard:
            try:
                self._renew()
            except ImportError:
                raise ConfigurationError(
                    "google-auth and requests are not installed, and nothing else says who asks Google Cloud Storage",
                    hint="`pip install 'asynccache[gcs]'`",
                ) from None
            except ConfigurationError:
                raise
            except Exception as exc:  # noqa: BLE001 - of any provider; its text may repeat what was sent
                raise _not_obtained(exc) from None
            return sendable(str(self._credentials.token), "the token of " + self.kind)

    def _renew(self) -> None:
        """Make sure that there are credentials with a token that does not expire soon."""
        if self._credentials is None and self._provider:
            self._credentials = client_provider("gs", self._provider).get_credentials(scopes=list(SCOPES))[0]
        if not self.waits():
            return
        import google.auth  # noqa: PLC0415 - only where it is asked
        from google.auth.transport.requests import Request  # noqa: PLC0415 - as above
        from requests import Session  # noqa: PLC0415 - as above

        # without logging configured, Python prints its warnings about a project, which is not needed
        logging.getLogger("google.auth").addHandler(logging.NullHandler())
        with Session() as session:
            if self._credentials is None:
                self._credentials = google.auth.default(scopes=list(SCOPES), request=Request(session))[0]
            if not self._credentials.valid:
                self._credentials.refresh(Request(session))


def _not_obtained(exc: Exception) -> StoreRefusedError:
    """Return the message for a missing token: of the reason, only its kind."""
    if type(exc).__name__ in {"RefreshError", "OAuthError", "ReauthFailError"}:
        return StoreRefusedError(
            "Google refuses the identity of this machine (%s)" % type(exc).__name__,
            hint="log in again (`gcloud auth application-default login`), or check GOOGLE_APPLICATION_CREDENTIALS",
        )
    return StoreRefusedError(
        "no identity of Google was found (%s)" % type(exc).__name__,
        hint="set Application Default Credentials (`gcloud auth application-default login`, or"
        " GOOGLE_APPLICATION_CREDENTIALS), or %s" % provider_variable("gs"),
    )
