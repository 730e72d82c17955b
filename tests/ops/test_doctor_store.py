"""What `doctor` says of who asks a store and what he may do there, against servers that refuse."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import pytest
from aiohttp import web

from asynccache.api import Finding, Session, Settings
from asynccache.errors import StoreError
from tests.store.conftest import use_credentials_of
from tests.support.azurite import AzureServer
from tests.support.google_storage import CheckingProxy
from tests.support.object_servers import BUCKET, ObjectServer
from tests.support.token_service import TokenService

pytestmark = pytest.mark.xdist_group("object-servers")


async def looked_at(settings: Settings) -> dict[str, Finding]:
    """Return what is said of the store, by subject."""
    async with Session(settings) as session:
        findings = (await session.doctor()).findings
    return {finding.subject: finding for finding in findings if finding.subject.startswith("store")}


@pytest.mark.parametrize(
    ("rights", "levels"),
    [
        ("rlcwd", {"reading": "ok", "speed": "ok", "conditions": "ok"}),
        ("rlcw", {"reading": "ok", "speed": "ok", "conditions": "ok", "deletion": "warning"}),
        ("rl", {"reading": "ok", "writing": "warning"}),
        ("l", {"": "failure"}),
        ("r", {"": "failure"}),
    ],
)
async def test_what_a_signature_of_azure_may_do_is_told(
    azurite: AzureServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rights: str, levels: dict[str, str]
) -> None:
    place = f"{BUCKET}/{secrets.token_hex(6)}"
    azurite.ask("PUT", f"/{place}/packages/conda/a", {"x-ms-blob-type": "BlockBlob"})
    signature = azurite.signature(rights)
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", signature)
    found = await looked_at(Settings(store=f"az://{place}", azure_endpoint=azurite.url, cache_dir=tmp_path))
    told = {subject.removeprefix("store").strip(): finding.level for subject, finding in found.items()}
    assert {subject: told.get(subject) for subject in ("", *levels)} == {"": "ok", **levels}
    if "writing" in levels:
        assert "is denied (AuthorizationPermissionMismatch)" in found["store writing"].text
        assert "enough to make environments" in found["store writing"].advice
        assert "Storage Blob Data Contributor to write" in found["store writing"].advice
    if "speed" in told:
        assert "with a shared access signature" in found["store"].text
    assert not any(part in str(found) for part in signature.split("&") if part.startswith("sig="))


@pytest.mark.parametrize("only_reading", [False, True])
async def test_what_an_identity_of_google_may_do_is_told(
    google_https: CheckingProxy,
    tokens: TokenService,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only_reading: bool,
) -> None:
    for name, value in tokens.of_google("federation").items():
        monkeypatch.setenv(name, value)
    google_https.only_reading = only_reading
    place = f"gs://{BUCKET}/{secrets.token_hex(6)}"
    found = await looked_at(Settings(store=place, google_endpoint=google_https.url, cache_dir=tmp_path))
    assert "with Application Default Credentials (workload identity federation)" in found["store"].text
    if only_reading:
        assert found["store writing"].level == "warning"
        assert "Storage Object User to write" in found["store writing"].advice
        assert "store conditions" not in found
    else:
        assert found["store conditions"].level == "ok"
    assert not any(token in str(found) for token in (tokens.secret, *tokens.tokens))


async def test_who_is_refused_a_token_may_do_nothing_and_the_code_says_so(
    azurite_https: AzureServer, tokens: TokenService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in tokens.of_azure("client secret").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong")
    settings = Settings(store=f"az://{BUCKET}/x", azure_endpoint=azurite_https.url, cache_dir=tmp_path)
    async with Session(settings) as session:
        examination = await session.doctor()
    (failed,) = [finding for finding in examination.findings if finding.level == "failure"]
    assert failed.text == "Azure refuses the identity of this machine (AADSTS7000215)"
    assert failed.advice.startswith("check AZURE_TENANT_ID")
    with pytest.raises(StoreError, match="1 checks failed: store"):
        examination.raise_for_failures()


class AmazonIdentities:
    """Gives keys as Amazon's hosts do: to containers, to instances, and for a token of somebody else's.

    Args:
        server: Whose keys.
    """

    def __init__(self, server: ObjectServer) -> None:
        self._keys = {"AccessKeyId": server.access_key, "SecretAccessKey": server.secret_key, "Token": "SECRETTOKEN"}
        self._runner = web.ServerRunner(web.Server(self._answer), handle_signals=False, shutdown_timeout=0.1)
        self.url = ""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        ends = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        keys = {**self._keys, "Expiration": ends}
        if request.method == "POST":
            named = {"SessionToken" if name == "Token" else name: value for name, value in keys.items()}
            body = "".join(f"<{name}>{value}</{name}>" for name, value in named.items())
            answer = f"<Credentials>{body}</Credentials>"
            whole = f"<AssumeRoleWithWebIdentityResult>{answer}</AssumeRoleWithWebIdentityResult>"
            name = "AssumeRoleWithWebIdentityResponse"
            text = f'<{name} xmlns="https://sts.amazonaws.com/doc/2011-06-15/">{whole}</{name}>'
            return web.Response(text=text, content_type="text/xml")
        if request.path.endswith("/api/token"):
            return web.Response(text="token-of-the-instance")
        if request.path.endswith("/security-credentials/"):
            return web.Response(text="role")
        return web.json_response({"Code": "Success", **keys})


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ("environment", "the access key in the environment (AWS_ACCESS_KEY_ID)"),
        ("profile", "the access key of the AWS profile team"),
        ("web identity", "the role of a web identity (AWS_WEB_IDENTITY_TOKEN_FILE)"),
        ("container", "the role of this container"),
        ("instance", "the role of this instance"),
    ],
)
async def test_which_credential_of_aws_was_found_is_told_and_none_is_shown(
    moto: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str, words: str
) -> None:
    use_credentials_of(moto, monkeypatch)
    place = f"s3://{BUCKET}/{secrets.token_hex(6)}"
    profile = None
    async with AmazonIdentities(moto) as host:
        if found != "environment":
            monkeypatch.delenv("AWS_ACCESS_KEY_ID")
            monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        if found == "profile":
            profile = "team"
            keys = f"aws_access_key_id = {moto.access_key}\naws_secret_access_key = {moto.secret_key}"
            (tmp_path / "credentials").write_text(f"[team]\n{keys}\n")
            monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        elif found == "web identity":
            (tmp_path / "token").write_text("SECRETTOKEN")
            monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
            monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/reader")
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", host.url)
        elif found == "container":
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{host.url}/role")
        elif found == "instance":
            monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
            monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", host.url)
        settings = Settings(store=place, s3_endpoint_url=moto.url, s3_profile=profile, cache_dir=tmp_path / "c")
        told = await looked_at(settings)
    assert f"{place} can be listed with {words}, first answer" in told["store"].text
    assert "SECRET" not in str(told)
