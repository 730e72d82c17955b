"""Who asks Azure and Google: identities as their own libraries find them, against servers that check tokens."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta

import pytest
from google.auth import _helpers

from asynccache.errors import AsyncCacheError, StoreRefusedError
from asynccache.model.root import StoreRoot
from asynccache.store.base import Store
from asynccache.store.open import open_store
from tests.store.conftest import options_for
from tests.support.azurite import AzureServer
from tests.support.google_storage import CheckingProxy
from tests.support.object_servers import BUCKET
from tests.support.token_service import TokenService

pytestmark = pytest.mark.xdist_group("object-servers")
Opened = Callable[..., AbstractAsyncContextManager[Store]]
AZURE = {
    "client secret": ("a secret", "DefaultAzureCredential (ClientSecretCredential)"),
    "workload identity": ("an assertion", "DefaultAzureCredential (WorkloadIdentityCredential)"),
    "app service": ("a host of apps", "DefaultAzureCredential (AppServiceCredential)"),
    "virtual machine": ("a virtual machine", "DefaultAzureCredential (ImdsCredential)"),
}
GOOGLE = {
    "service account": ("a signature", "Application Default Credentials (a service account's key)"),
    "federation": ("a subject", "Application Default Credentials (workload identity federation)"),
}


@pytest.fixture
def opened(
    azurite_https: AzureServer, google_https: CheckingProxy, tokens: TokenService, monkeypatch: pytest.MonkeyPatch
) -> Opened:
    @asynccontextmanager
    async def open_as(kind: str) -> AsyncIterator[Store]:
        variables = tokens.of_azure(kind) if kind in AZURE else tokens.of_google(kind)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        scheme, endpoint = ("az", azurite_https.url) if kind in AZURE else ("gs", google_https.url)
        root = StoreRoot.parse(f"{scheme}://{BUCKET}/{secrets.token_hex(6)}", endpoint=endpoint)
        async with open_store(root, options_for()) as store:
            yield store

    return open_as


@pytest.mark.parametrize("kind", [*AZURE, *GOOGLE])
async def test_an_identity_of_this_machine_gets_one_token_that_the_store_takes(
    opened: Opened, tokens: TokenService, kind: str
) -> None:
    how, told = {**AZURE, **GOOGLE}[kind]
    async with opened(kind) as store:
        await asyncio.gather(*(store.put(f"a{number}", b"content", if_absent=True) for number in range(8)))
        assert await store.get("a7") == b"content"
        assert len([info async for info in store.scan()]) == 8
        assert store.asked_with == told
    assert tokens.given == [how]


@pytest.mark.parametrize("kind", ["workload identity", "service account"])
async def test_a_token_is_replaced_before_it_ends(
    opened: Opened, tokens: TokenService, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async with opened(kind) as store:
        await store.put("a", b"content")
        real, later = time.time, 3600 - 200.0
        monkeypatch.setattr(time, "time", lambda: real() + later)
        clock: Callable[[], datetime] = _helpers.utcnow  # google-auth's
        monkeypatch.setattr(_helpers, "utcnow", lambda: clock() + timedelta(seconds=later))
        assert await store.get("a") == b"content"
        assert await store.get("a") == b"content"
    assert len(tokens.given) == 2


@pytest.mark.parametrize("kind", ["client secret", "workload identity", "service account", "federation"])
async def test_who_is_refused_a_token_is_told_why_without_what_was_sent(
    opened: Opened, tokens: TokenService, kind: str
) -> None:
    async with opened(kind) as store:
        wrong, tokens.secret, tokens._private = tokens.secret, "another", None
        with pytest.raises(StoreRefusedError) as caught:
            await store.put("a", b"content")
    cloud, why = ("Azure", "AADSTS7000215") if kind in AZURE else ("Google", "RefreshError|OAuthError")
    assert re.match(rf"{cloud} refuses the identity of this machine \(({why})\); ", str(caught.value))
    assert wrong not in everything(caught.value)


@pytest.mark.parametrize("kind", ["workload identity", "service account"])
async def test_a_token_that_has_ended_for_the_store_is_refused_in_a_sentence(
    opened: Opened, tokens: TokenService, kind: str
) -> None:
    tokens.late = 2 * tokens.lifetime
    async with opened(kind) as store:
        with pytest.raises(StoreRefusedError, match=r"does not accept .* \([Aa]uth\w+\); log in again") as caught:
            await store.get("a")
    told = {**AZURE, **GOOGLE}[kind][1]
    assert f"{told} for {store.address} (" in str(caught.value)


def everything(error: AsyncCacheError) -> str:
    """Return all that is shown of an error, with --debug too."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(error.as_document())
