"""A service that gives tokens over https as Microsoft Entra, the hosts of managed identities and Google do.

It checks what it is sent: secrets, assertions, headers, signatures, audiences. It gives JSON web tokens as Azurite
looks at them, and knows what it has given, for servers that ask it. A refusal repeats what was sent, as no service
should: so a test sees who passes texts of servers on.

MSAL asks Microsoft's own service whether an authority is to be trusted, but for the tenant `adfs`: hence that tenant.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.support.certificates import Certificate

TENANT: Final = "adfs"
AUDIENCE: Final = "https://storage.azure.com"
_SCOPE: Final = "https://storage.azure.com/.default"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class RefusedError(Exception):
    """Who asks is not who may have a token."""


@dataclass(slots=True)
class TokenService:
    """The service.

    Args:
        certificate: What it shows.
        files: Directory for what identities are in on a machine.

    Attributes:
        lifetime: Seconds for which a token is good, as the service says.
        late: Seconds by which the tokens themselves end earlier, as where two clocks differ.
        given: How each token was asked for.
        client: Name of the application that may have tokens.
        secret: Its secret, and that of hosts of managed identities.
        url: Its address.
        tokens: What it gave, and when each ends.
    """

    certificate: Certificate
    files: Path
    lifetime: float = 3600.0
    late: float = 0.0
    given: list[str] = field(default_factory=list)
    client: str = field(default_factory=lambda: secrets.token_hex(8))
    secret: str = field(default_factory=lambda: "SECRET" + secrets.token_hex(16), repr=False)
    url: str = ""
    tokens: dict[str, float] = field(default_factory=dict)
    _runner: web.ServerRunner | None = None
    _private: rsa.RSAPrivateKey | None = None

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._answer), handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.certificate.context).start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def is_good(self, token: str) -> bool:
        """Return whether it gave a token that has not ended."""
        return self.tokens.get(token, 0.0) > time.time()

    def token(self, how: str = "by hand") -> str:
        """Give a token."""
        now = time.time()
        ends = now + self.lifetime - self.late
        claims = {
            "aud": AUDIENCE, "iss": "https://sts.windows.net/tenant/", "iat": int(now) - 7200, "nbf": int(now) - 7200,
            "exp": int(ends), "appid": self.client, "jti": secrets.token_hex(4),
        }  # fmt: skip
        text = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
        proof = hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).digest()
        token = f"{text}.{_base64(proof)}"
        self.tokens[token] = ends
        self.given.append(how)
        return token

    def of_azure(self, kind: str) -> dict[str, str]:
        """Return the variables that an identity of Azure consists of on a machine.

        Args:
            kind: `client secret`, `workload identity`, `app service` or `virtual machine`.
        """
        asked = {"AZURE_AUTHORITY_HOST": self.url, "AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": self.client}
        if kind == "client secret":
            found = {**asked, "AZURE_CLIENT_SECRET": self.secret}
        elif kind == "workload identity":
            (self.files / "federated").write_text(self.secret)
            found = {**asked, "AZURE_FEDERATED_TOKEN_FILE": str(self.files / "federated")}
        elif kind == "app service":
            found = {"IDENTITY_ENDPOINT": f"{self.url}/msi/token", "IDENTITY_HEADER": self.secret}
        else:
            found = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": self.url}
        return {**self.certificate.trusted, **found}

    def of_google(self, kind: str) -> dict[str, str]:
        """Return the variables that an identity of Google consists of: `service account` or `federation`."""
        path = self.files / f"{kind}.json"
        if kind == "service account":
            key = self._key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            about: dict[str, object] = {
                "type": "service_account", "project_id": "p", "private_key_id": "1", "private_key": key.decode(),
                "client_email": self.client, "client_id": "1", "token_uri": f"{self.url}/google/token",
            }  # fmt: skip
        else:
            (self.files / "subject").write_text(self.secret)
            about = {
                "type": "external_account", "audience": "//iam.googleapis.com/pool/provider",
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": f"{self.url}/google/sts",
                "credential_source": {"file": str(self.files / "subject")},
            }  # fmt: skip
        path.write_text(json.dumps(about))
        return {**self.certificate.trusted, "GOOGLE_APPLICATION_CREDENTIALS": str(path)}

    @property
    def _key(self) -> rsa.RSAPrivateKey:
        if self._private is None:
            self._private = rsa.generate_private_key(65537, 2048)
        return self._private

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        said = {**request.query, **dict(await request.post())}
        here = f"{self.url}/{TENANT}/oauth2"
        if request.path.endswith("/.well-known/openid-configuration"):
            return web.json_response(
                {"issuer": here, "token_endpoint": f"{here}/token", "authorization_endpoint": f"{here}/authorize"}
            )
        try:
            how = self._how(request.path, {name: str(value) for name, value in said.items()}, request.headers)
        except RefusedError as refused:
            told = f"AADSTS7000215: {refused}: {said} {dict(request.headers)}"
            return web.json_response({"error": "invalid_client", "error_description": told}, status=401)
        token = self.token(how)
        ends = {"expires_in": int(self.lifetime), "expires_on": str(int(time.time() + self.lifetime))}
        return web.json_response({"access_token": token, "token_type": "Bearer", "resource": AUDIENCE, **ends})

    def _how(self, path: str, said: Mapping[str, str], headers: Mapping[str, str]) -> str:
        """Return how an authorised client requests a token."""
        if path.startswith(f"/{TENANT}/oauth2/"):
            kind, proof = "a secret", said.get("client_secret")
            if "client_assertion" in said:
                kind, proof = "an assertion", said["client_assertion"]
                _same("the kind of assertion", said.get("client_assertion_type"), _ASSERTION)
            _same("the client", said.get("client_id"), self.client)
            _same("the scope", said.get("scope", "").split(" ")[0], _SCOPE)
            _same("the grant", said.get("grant_type"), "client_credentials")
            _same("the proof", proof, self.secret)
            return kind
        if path in {"/msi/token", "/metadata/identity/oauth2/token"}:
            _same("the resource", said.get("resource"), AUDIENCE)
            if path == "/msi/token":
                _same("the header", headers.get("X-IDENTITY-HEADER"), self.secret)
                return "a host of apps"
            _same("the header", headers.get("Metadata"), "true")
            return "a virtual machine"
        if path == "/google/token":
            _same("the grant", said.get("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer")
            self._signed(said.get("assertion", ""))
            return "a signature"
        _same("the path", path, "/google/sts")
        _same("the grant", said.get("grant_type"), "urn:ietf:params:oauth:grant-type:token-exchange")
        _same("the subject", said.get("subject_token"), self.secret)
        return "a subject"

    def _signed(self, assertion: str) -> None:
        text, _, proof = assertion.rpartition(".")
        padded = base64.urlsafe_b64decode(proof + "==")
        try:
            self._key.public_key().verify(padded, text.encode(), padding.PKCS1v15(), hashes.SHA256())
        except Exception as exc:
            raise RefusedError("the signature is wrong") from exc


def _same(what: str, said: str | None, wanted: str) -> None:
    if said != wanted:
        raise RefusedError(f"{what} is wrong")


def _part(value: Mapping[str, Any]) -> str:
    return _base64(json.dumps(value).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
