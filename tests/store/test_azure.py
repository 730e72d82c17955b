"""What Azure Storage alone does, and what the store makes of it; against Azurite behind a proxy."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from asynccache.errors import ConfigurationError, IntegrityError, StoreError, StoreRefusedError
from asynccache.model.digest import Digests
from asynccache.model.root import StoreRoot
from asynccache.node.azure_account import Token, azure_account, default_endpoint
from asynccache.node.patience import Patience
from asynccache.runtime.clock import VirtualClock
from asynccache.store.azure import AzureStore
from tests.store.conftest import options_for, written
from tests.store.fault_proxy import Refuse, times
from tests.store.remotes import Remote, on_azure
from tests.support.azurite import AzureServer
from tests.support.object_servers import BUCKET

pytestmark = pytest.mark.xdist_group("object-servers")


@pytest.fixture
def azure(azurite: AzureServer, monkeypatch: pytest.MonkeyPatch) -> Remote:
    return on_azure(azurite, monkeypatch)


async def test_a_conflict_is_no_answer_to_a_read(azure: Remote) -> None:
    async with azure.opened() as (store, proxy):
        await store.put("a", b"x")
        proxy.script = times(9, Refuse(409, "BlobArchived"), method="GET")
        with pytest.raises(StoreRefusedError, match=r"cannot serve a in .* \(BlobArchived, status 409\)") as caught:
            await store.get("a")
        assert "AKIDSECRET" not in str(caught.value)
        proxy.script = times(9, Refuse(403, "AuthenticationFailed"), method="GET")  # the service's own answer
        with pytest.raises(StoreRefusedError, match=r"does not accept an account key for az://.* \(Auth\w+\); log in"):
            await store.get("a")


async def test_bytes_that_differ_from_their_digest_are_refused_by_the_service(azure: Remote, tmp_path: Path) -> None:
    path, wrong = written(tmp_path / "file", b"bytes"), Digests(md5=hashlib.md5(b"other").hexdigest(), size=5)
    async with azure.opened() as (store, proxy):
        with pytest.raises(StoreRefusedError, match="status 400"):  # Azurite gives another code than the service
            await store.upload("a", path, wrong)
        proxy.script = times(1, Refuse(400, "Md5Mismatch"), method="PUT")
        with pytest.raises(IntegrityError, match="a arrived damaged in az://"):
            await store.upload("a", path, wrong)
        assert await store.head("a") is None


async def test_who_never_answers_is_told_without_the_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_KEY", raising=False)
    root = StoreRoot.parse("az://c/p", endpoint="http://127.0.0.1:1/acc?sv=1&sig=SECRET")
    assert "SECRET" not in root.identity
    async with AzureStore(root, options_for(clock=VirtualClock(), patience=Patience(tries=2, outage=0.0))) as store:
        with pytest.raises(StoreError, match=r"127\.0\.0\.1:1 did not answer a request for a in az://c/p") as caught:
            await store.get("a")
    assert "SECRET" not in f"{caught.value} {caught.value.__cause__}"


async def test_a_shared_access_signature_goes_with_every_request(
    azurite: AzureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_KEY", raising=False)
    name = urlsplit(azurite.url).path.strip("/")
    said = {"sp": "rwdlac", "ss": "b", "srt": "sco", "se": "2099-01-01T00:00:00Z", "sv": "2021-12-02"}
    # REST reference, "Create an account SAS"
    fields = [name, said["sp"], said["ss"], said["srt"], "", said["se"], "", "", said["sv"], "", ""]
    proof = hmac.new(base64.b64decode(azurite.key), "\n".join(fields).encode(), hashlib.sha256).digest()
    query = "&".join(f"{k}={quote(v)}" for k, v in {**said, "sig": base64.b64encode(proof).decode()}.items())
    root = StoreRoot.parse(f"az://{BUCKET}/{secrets.token_hex(6)}", endpoint=f"{azurite.url}?{query}")
    async with AzureStore(root, options_for()) as store:
        await store.put("a", b"x", if_absent=True)
        await store.move("a", "b")
        assert [i.key async for i in store.scan()] == ["b"]
        assert store.asked_with == "a shared access signature"


def test_a_token_is_fetched_once_and_again_shortly_before_it_ends() -> None:
    fetched = []

    def get() -> tuple[str, float]:
        fetched.append(1)
        return f"token{len(fetched)}", 0.0 if len(fetched) == 1 else float("inf")

    token = Token(get, "somebody")
    seen = []
    for _ in range(4):
        headers: dict[str, str] = {}
        token.sign("GET", "https://h/", headers)
        seen.append(headers["Authorization"])
    assert seen == ["Bearer token1", "Bearer token2", "Bearer token2", "Bearer token2"]


def test_azures_own_variables_say_which_account_and_who_asks() -> None:
    text = "DefaultEndpointsProtocol=https;AccountName=team;AccountKey=a2V5;EndpointSuffix=core.windows.net"
    assert default_endpoint({"AZURE_STORAGE_CONNECTION_STRING": text}) == "https://team.blob.core.windows.net"
    assert default_endpoint({"AZURE_STORAGE_ACCOUNT": "other"}) == "https://other.blob.core.windows.net"
    assert default_endpoint({}) is None
    found = azure_account("https://team.blob.core.windows.net/", {"AZURE_STORAGE_CONNECTION_STRING": text})
    assert (found.endpoint, found.authorization.kind) == ("https://team.blob.core.windows.net", "an account key")


def test_a_key_that_is_no_key_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_KEY", "not-base64!")
    with pytest.raises(ConfigurationError, match="the account key of Azure Storage is not base64"):
        AzureStore(StoreRoot.parse("az://c/p", endpoint="https://team.blob.core.windows.net"))
