"""Tests see none of the user's settings, and leave nothing in the temporary directory."""

import os
from collections import Counter

import hypothesis
import pytest

from tests.support.effort import tries
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
