"""Who to be towards a host is found in the right order and told to nobody else."""

from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.engine.credentials import HostCredentials
from asynccache.engine.engine import Engine
from asynccache.engine.keyring import with_keyring
from asynccache.errors import ConfigurationError
from asynccache.model.credentials import Credentials
from asynccache.model.package import Package
from asynccache.model.url import PackageURL
from tests.support.fault_server import FaultServer
from tests.support.faults import Fault, Kind
from tests.support.keyring import write_keyring
from tests.support.small_channel import SyntheticChannel


def _for(url: str, auth: dict[str, list[str]], netrc: Path) -> Credentials | None:
    return HostCredentials(auth, netrc).for_url(*PackageURL.parse(url))


@pytest.fixture
def netrc(tmp_path: Path) -> Path:
    path = tmp_path / ".netrc"
    path.write_text("machine h.test login nora password n3trc\ndefault login all password everywhere\n")
    path.chmod(0o600)
    return path


def test_the_url_comes_before_the_settings_which_come_before_netrc(netrc: Path) -> None:
    auth = {"h.test": ["sam", "s"], "h.test:8443": ["port", "p"]}
    assert _for("https://ursula:u@h.test/a.conda", auth, netrc) == Credentials("ursula", "u")
    assert _for("https://h.test:8443/a.conda", auth, netrc) == Credentials("port", "p")
    assert _for("https://h.test/a.conda", auth, netrc) == Credentials("sam", "s")
    assert _for("https://H.test/a.conda", {}, netrc) == Credentials("nora", "n3trc")


def test_a_host_that_nobody_named_gets_nothing_not_even_the_default_entry(netrc: Path) -> None:
    assert _for("https://other.test/a.conda", {}, netrc) is None
    assert _for("https://h.test/a.conda", {}, netrc.with_name("absent")) is None


def test_a_malformed_netrc_is_named_without_quoting_it(netrc: Path) -> None:
    netrc.write_text("machine h.test login nora passwort s3cret\n")
    with pytest.raises(ConfigurationError, match="malformed at line") as caught:
        _for("https://h.test/a.conda", {}, netrc)
    assert "s3cret" not in str(caught.value)


def test_an_entry_that_is_no_pair_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\[user, password\]"):
        HostCredentials({"h": ["only"]})


def test_credentials_do_not_show_themselves() -> None:
    assert "s3cret" not in repr(Credentials("me", "s3cret"))


async def test_a_server_that_wants_a_log_in_gets_it(channel: SyntheticChannel, tmp_path: Path) -> None:
    async with FaultServer(channel.root, credentials=("me", "pw")) as server:
        host = server.url.removeprefix("http://")
        configured = Settings(store=str(tmp_path / "s"), cache_dir=tmp_path / "c", auth={host: ["me", "pw"]})
        async with Engine(configured) as engine:
            (await engine.cache(channel.packages(server.url, 2))).raise_for_failures()


async def test_a_log_in_is_not_confused_by_another_one_in_netrc(
    channel: SyntheticChannel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login you password other\n", "utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with FaultServer(channel.root, credentials=("me", "pw")) as server:
        host = server.url.removeprefix("http://")
        configured = Settings(store=str(tmp_path / "s"), cache_dir=tmp_path / "c", auth={host: ["me", "pw"]})
        async with Engine(configured) as engine:
            (await engine.cache(channel.packages(server.url, 2))).raise_for_failures()


async def test_a_redirect_to_another_host_does_not_carry_the_log_in_along(
    channel: SyntheticChannel, tmp_path: Path
) -> None:
    async with FaultServer(channel.root) as other:
        away = Fault(Kind.REDIRECT, location=other.url.replace("127.0.0.1", "localhost") + "{path}")
        async with FaultServer(channel.root, faults=[away], credentials=("me", "pw")) as server:
            text = str(channel.packages(server.url, 1)[0].url).replace("http://", "http://me:pw@")
            configured = Settings(store=str(tmp_path / "s"), cache_dir=tmp_path / "c")
            async with Engine(configured) as engine:
                (await engine.cache([Package.from_url(text)])).raise_for_failures()
            assert any("authorization" in {k.lower() for k in r.headers} for r in server.requests)
        assert other.requests
        assert not any("authorization" in {k.lower() for k in r.headers} for r in other.requests)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs = write_keyring(tmp_path / "programs", "host:8443", "me", "kept")
    monkeypatch.setenv("PATH", str(programs))
    return programs / "keyring"


@pytest.mark.parametrize("user", ["", "me@"])
def test_the_keyring_is_asked_once_after_a_refusal(kept: Path, user: str) -> None:
    credentials = HostCredentials({}, Path("/nonexistent"))
    url, access = PackageURL.parse(f"https://{user}host:8443/a-1-0.conda")
    tried = credentials.for_url(url, access)
    assert credentials.ask_keyring(url, access, tried)
    kept.unlink()
    found = credentials.for_url(url, access)
    assert found == Credentials("me", "kept")
    assert not credentials.ask_keyring(url, access, found)
    assert credentials.ask_keyring(url, access, tried)  # another request that was refused meanwhile


def test_where_the_keyring_knows_nothing_the_refusal_stands(kept: Path) -> None:
    for text in (
        "https://other/a-1-0.conda",
        "https://you@host:8443/a-1-0.conda",
        "https://me:wrong@host:8443/a-1-0.conda",
    ):
        credentials = HostCredentials({}, Path("/nonexistent"))
        url, access = PackageURL.parse(text)
        tried = credentials.for_url(url, access)
        assert not credentials.ask_keyring(url, access, tried)
        assert credentials.for_url(url, access) == tried


def test_only_users_without_password_are_looked_up(kept: Path) -> None:
    given = {"host:8443": ["me", ""], "other": ["me", ""], "host": ["me", "mine"]}
    assert with_keyring(given) == {**given, "host:8443": ["me", "kept"]}
