"""Credentials for Azure Blob Storage and the authorization of requests, for the engine and for bare nodes.

Requests are authorized according to "Authorize requests to Azure Storage" in the REST reference: with a shared key,
with a shared access signature (SAS), or with a token. Python 3.7, standard library; azure-identity if a token is
needed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import os
import re
import threading
import time
from email.utils import formatdate
from typing import Any, Callable, Mapping, Tuple
from urllib.parse import parse_qsl, unquote, urlsplit

from asynccache.errors import ConfigurationError, StoreRefusedError
from asynccache.node.client_provider import client_provider, provider_variable
from asynccache.node.endpoint import split_endpoint
from asynccache.node.secret_text import sendable

VERSION = "2021-12-02"
"""Version of the service's protocol; what is used of it is in every later one."""
SCOPE = "https://storage.azure.com/.default"
_TOKEN = "ASYNCCACHE_AZURE_TOKEN"  # noqa: S105 - name of a variable: the token of the process that started this one
_EARLY_SECONDS = 300.0  # seconds before expiry at which a token is replaced
_SIGNED = (
    "content-encoding", "content-language", "content-length", "content-md5", "content-type", "date",
    "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range",
)  # fmt: skip

GetToken = Callable[[], Tuple[str, float]]
"""Returns a token and when it ends, in seconds since the epoch."""


class Authorization:
    """Authorizes requests.

    Attributes:
        kind: Which credentials are used, as text for people: never a secret.
    """

    kind = "nobody"

    def waits(self) -> bool:
        """Return whether `sign` would use the network now and must not run on an event loop."""
        return False

    def sign(self, method: str, url: str, headers: dict[str, str]) -> str:
        """Add the authorization to the headers; return the URL to request, which may contain a secret."""
        del method, headers
        return url

    def readable(self, url: str) -> str:
        """Return the address from which the service itself reads an object to copy."""
        return url

    def variables(self) -> dict[str, str]:
        """Return the variables that give a child process the same authorization, if its own Python cannot obtain it."""
        return {}

    def close(self) -> None:
        """Close connections to token services."""


class SharedKey(Authorization):
    """The account's key.

    Args:
        account: Name of the account.
        key: The key, in base64.
    """

    kind = "an account key"

    def __init__(self, account: str, key: str) -> None:
        self._account = account
        try:
            self._key = base64.b64decode(sendable(key, "the account key of Azure Storage"), validate=True)
        except ValueError:
            raise ConfigurationError(
                "the account key of Azure Storage is not base64",
                hint="check AZURE_STORAGE_KEY or AZURE_STORAGE_CONNECTION_STRING",
            ) from None

    def sign(self, method: str, url: str, headers: dict[str, str]) -> str:
        """See `Authorization.sign`."""
        given = {name.lower(): value for name, value in headers.items()}
        if given.get("content-length") == "0":
            del given["content-length"]
        parts = urlsplit(url)
        own = sorted((name, value) for name, value in given.items() if name.startswith("x-ms-"))
        query = sorted((name.lower(), value) for name, value in parse_qsl(parts.query, keep_blank_values=True))
        text = "\n".join([method, *(given.get(name, "") for name in _SIGNED)]) + "\n"
        text += "".join("%s:%s\n" % pair for pair in own)
        text += "/%s%s" % (self._account, parts.path) + "".join("\n%s:%s" % pair for pair in query)
        proof = base64.b64encode(hmac.new(self._key, text.encode(), hashlib.sha256).digest()).decode()
        headers["Authorization"] = "SharedKey %s:%s" % (self._account, proof)
        return url


class SharedAccessSignature(Authorization):
    """A signature that is added to every address."""

    kind = "a shared access signature"

    def __init__(self, signature: str) -> None:
        self._signature = sendable(signature, "the shared access signature of Azure Storage").lstrip("?")

    def sign(self, method: str, url: str, headers: dict[str, str]) -> str:
        """See `Authorization.sign`."""
        del method, headers
        return self.readable(url)

    def readable(self, url: str) -> str:
        """See `Authorization.readable`."""
        return url + ("&" if "?" in url else "?") + self._signature

    def variables(self) -> dict[str, str]:
        """See `Authorization.variables`."""
        return {"AZURE_STORAGE_SAS_TOKEN": self._signature}


class Token(Authorization):
    """A token, fetched once and again shortly before it expires; kept in memory only.

    Args:
        get: Fetches a token.
        kind: Its origin, which may be known only after one was fetched.
        close: Called when no more are needed.
    """

    def __init__(self, get: GetToken, kind: str | Callable[[], str], close: Callable[[], object] = str) -> None:
        self._kind = kind
        self._get = get
        self._close = close
        self._guard = threading.Lock()
        self._token = ""
        self._ends = 0.0

    @property
    def kind(self) -> str:  # type: ignore[override]
        """See `Authorization`."""
        return self._kind if isinstance(self._kind, str) else self._kind()

    def waits(self) -> bool:
        """See `Authorization.waits`."""
        return time.time() > self._ends - _EARLY_SECONDS

    def sign(self, method: str, url: str, headers: dict[str, str]) -> str:
        """See `Authorization.sign`."""
        del method
        headers["Authorization"] = "Bearer " + self._now()
        return url

    def variables(self) -> dict[str, str]:
        """See `Authorization.variables`; a token lives for an hour, which is longer than creating an environment
        takes.
        """
        return {_TOKEN: self._now()}

    def close(self) -> None:
        """See `Authorization.close`."""
        self._close()

    def _now(self) -> str:
        with self._guard:
            if self.waits():
                token, self._ends = self._get()
                self._token = sendable(token, "the token of " + self.kind)
            return self._token


class AzureAccount:
    """An account and the credentials for it.

    Attributes:
        endpoint: Address of its blob service, without credentials.
        authorization: Authorizes requests.
    """

    def __init__(self, endpoint: str, authorization: Authorization) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.authorization = authorization

    @property
    def kind(self) -> str:
        """Which credentials are used, as text for people: never a secret."""
        return self.authorization.kind

    def close(self) -> None:
        """Close connections to token services."""
        self.authorization.close()

    def waits(self) -> bool:
        """Return whether `prepare` would use the network now."""
        return self.authorization.waits()

    def prepare(self, method: str, url: str, headers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """Return the address and the headers of a request.

        Args:
            method: HTTP method.
            url: URL below `endpoint`, quoted.
            headers: Headers of the request, including the length of a body.
        """
        every = {**headers, "x-ms-version": VERSION, "x-ms-date": formatdate(usegmt=True)}
        return self.authorization.sign(method, url, every), every


def connection_fields(text: str) -> dict[str, str]:
    """Parse a connection string: `Name=value;...`; no fields if it is invalid."""
    pairs = (part.partition("=") for part in text.split(";") if "=" in part)
    return {name.strip(): value for name, _, value in pairs}


def default_endpoint(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the blob service of the account in the variables of Azure's own tools."""
    fields = connection_fields(environ.get("AZURE_STORAGE_CONNECTION_STRING", ""))
    if fields.get("BlobEndpoint"):
        return fields["BlobEndpoint"].rstrip("/")
    name = fields.get("AccountName") or environ.get("AZURE_STORAGE_ACCOUNT")
    if not name:
        return None
    scheme, suffix = fields.get("DefaultEndpointsProtocol") or "https", fields.get("EndpointSuffix")
    return "%s://%s.blob.%s" % (scheme, name, suffix or "core.windows.net")


def azure_account(endpoint: str, environ: Mapping[str, str] = os.environ, provider: str | None = None) -> AzureAccount:
    """Return an account with its credentials: a configured key or signature, otherwise a token of this machine's
    identity.

    Args:
        endpoint: Address of the blob service, which may contain a signature.
        environ: Variables, those of Azure's own tools: `AZURE_STORAGE_CONNECTION_STRING`, `AZURE_STORAGE_KEY`,
            `AZURE_STORAGE_SAS_TOKEN`.
        provider: Metaflow plugin that provides tokens; None for `DefaultAzureCredential`.

    Raises:
        ConfigurationError: The address or key is invalid, or there is neither a key nor a way to get a token.
    """
    parts = split_endpoint(endpoint, "Azure Blob Storage", "azure_endpoint")
    plain = "%s://%s%s" % (parts.scheme, parts.netloc.rpartition("@")[2], parts.path)
    fields = connection_fields(environ.get("AZURE_STORAGE_CONNECTION_STRING", ""))
    key = fields.get("AccountKey") or environ.get("AZURE_STORAGE_KEY")
    signature = parts.query or fields.get("SharedAccessSignature") or environ.get("AZURE_STORAGE_SAS_TOKEN")
    if key:
        return AzureAccount(plain, SharedKey(_account_name(plain), key))
    if signature:
        return AzureAccount(plain, SharedAccessSignature(signature))
    if parts.scheme != "https":
        raise ConfigurationError(
            "a token is sent by https only, and %s is asked by http" % plain,
            hint="set an account key (AZURE_STORAGE_KEY) or a signature (AZURE_STORAGE_SAS_TOKEN)",
        )
    return AzureAccount(plain, _token(environ, provider))


def _account_name(endpoint: str) -> str:
    """Return the name of an account: from the host on Azure, otherwise from the path, as with emulators and private
    clouds.
    """
    parts = urlsplit(endpoint)
    return unquote(parts.path.strip("/").partition("/")[0]) or (parts.hostname or "").partition(".")[0]


def _token(environ: Mapping[str, str], provider: str | None) -> Token:
    """Return a token of this machine's identity, obtained as Metaflow does if it is installed."""
    handed = environ.get(_TOKEN)
    if handed:
        return Token(lambda: (handed, float("inf")), "a token of the process that started this one")
    credential = _provided(provider) if provider else _default()

    def get() -> tuple[str, float]:
        try:
            found = credential.get_token(SCOPE)
        except Exception as exc:  # noqa: BLE001 - of any provider; its text may repeat what was sent
            raise _not_obtained(exc) from None
        return found.token, float(found.expires_on)

    if provider:
        return Token(get, "a token of Metaflow's provider " + provider)
    return Token(get, lambda: _kind(credential), credential.close)


def _provided(provider: str) -> Any:
    plugin = client_provider("azure", provider)
    try:
        return plugin.create_cacheable_azure_credential()
    except Exception as exc:  # noqa: BLE001 - as above
        raise ConfigurationError(
            "the plugin %r of Metaflow gives no credential for Azure (%s)" % (provider, type(exc).__name__),
            hint="log in, or unset " + provider_variable("azure"),
        ) from None


def _default() -> Any:
    try:
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - takes half a second
    except ImportError:
        raise ConfigurationError(
            "neither a key nor a signature is set for Azure, and azure-identity is not installed",
            hint="set AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or `pip install 'asynccache[azure]'`",
        ) from None
    # without logging configured, Python prints its warnings, which contain texts of servers
    logging.getLogger("azure.identity").addHandler(logging.NullHandler())
    return DefaultAzureCredential()


def _kind(credential: Any) -> str:
    """Return which credential of a chain was found, to which azure-identity has no public access."""
    found = getattr(credential, "_successful_credential", None)
    found = getattr(found, "_credential", None) or found
    return "DefaultAzureCredential" + ("" if found is None else " (%s)" % type(found).__name__)


def _not_obtained(exc: Exception) -> StoreRefusedError:
    """Return the message for a missing token: of the reason, only the code of Microsoft Entra."""
    code = re.search(r"AADSTS\d+", str(exc))
    if code is not None:
        return StoreRefusedError(
            "Azure refuses the identity of this machine (%s)" % code.group(),
            hint="check AZURE_TENANT_ID, AZURE_CLIENT_ID and what proves them, or log in again (`az login`)",
        )
    return StoreRefusedError(
        "no identity of Azure was found (%s)" % type(exc).__name__,
        hint="log in (`az login`), set AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or give the machine an identity",
    )
