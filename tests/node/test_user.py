"""A user that nobody knows has a name and no home."""

import os

import pytest

from asynccache.engine.credentials import HostCredentials
from asynccache.model.url import PackageURL
from asynccache.node.user import home_directory, user_name
from asynccache.resolve.requests.pip_configuration import read_pip_configuration


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME", "NETRC", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 1234567)


@pytest.mark.usefixtures("nobody")
def test_what_looks_into_the_home_directory_does_without() -> None:
    assert home_directory() is None
    assert user_name() == "1234567"
    url, access = PackageURL.parse("https://host/noarch/a-1-0.conda")
    assert HostCredentials({}).for_url(url, access) is None
    read_pip_configuration({})
