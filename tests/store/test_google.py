"""What Google Cloud Storage alone does, and what the store makes of it; fake-gcs-server behind proxies."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from asynccache.node.google_account import GoogleAccount
from tests.store.conftest import digests_of, written
from tests.store.fault_proxy import Fault, Lose, Refuse
from tests.store.remotes import on_google
from tests.support.google_storage import GoogleServer

pytestmark = pytest.mark.xdist_group("object-servers")


@pytest.mark.parametrize("fault", [Refuse(503, "backendError"), Lose()], ids=str)
async def test_an_upload_goes_on_from_what_has_arrived(google: GoogleServer, tmp_path: Path, fault: Fault) -> None:
    remote = on_google(google)
    data, sent = remote.data(3), []

    def script(request: web.BaseRequest) -> Fault | None:
        if remote.steps["part"](request) or remote.steps["end"](request):
            sent.append(request.headers["Content-Range"].partition("-")[0])
            return fault if len(sent) == 2 else None
        return None

    async with remote.opened(script) as (store, _proxy):
        await store.upload("big", written(tmp_path / "file", data), digests_of(data))
        assert await store.get("big") == data
    assert sorted(set(sent), key=sent.index) == [f"bytes {number * remote.part}" for number in range(4)]
    assert len(sent) <= 5


def test_a_token_that_was_handed_over_is_sent_by_https_and_never_to_an_emulator() -> None:
    handed = {"ASYNCCACHE_GOOGLE_TOKEN": "SECRET"}
    assert GoogleAccount(None, handed).prepare("GET", "https://h/", {})[1] == {"Authorization": "Bearer SECRET"}
    assert GoogleAccount("http://127.0.0.1:1", handed).prepare("GET", "http://127.0.0.1:1/", {})[1] == {}
