"""Who asks Google Cloud Storage where nothing says it; identities that there are: tests/store/test_identities.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from asynccache.errors import StoreRefusedError
from asynccache.node.google_account import ENDPOINT, GoogleAccount
from tests.support.token_service import TokenService


def test_a_node_hands_its_token_to_a_process_that_cannot_get_one(
    tokens: TokenService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in tokens.of_google("service account").items():
        monkeypatch.setenv(name, value)
    handed = GoogleAccount().variables()
    account = GoogleAccount(environ=handed)
    assert not account.waits()
    _url, headers = account.prepare("GET", f"{ENDPOINT}/x", {"Range": "bytes=0-1"})
    assert headers == {"Range": "bytes=0-1", "Authorization": f"Bearer {handed['ASYNCCACHE_GOOGLE_TOKEN']}"}
    assert tokens.is_good(handed["ASYNCCACHE_GOOGLE_TOKEN"])
    assert len(tokens.given) == 1


def test_nobody_is_told_in_a_sentence_without_the_text_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(StoreRefusedError, match=r"^no identity of Google was found \(\w+\); set Application Default"):
        GoogleAccount().prepare("GET", ENDPOINT, {})
